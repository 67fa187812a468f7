"""What can be said of a backbone by its name alone: `python cli.py backbones`."""
