"""`python cli.py stylize`: style transfer by optimizing an image."""
