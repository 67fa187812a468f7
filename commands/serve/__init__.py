"""`python cli.py serve`: predictions over HTTP."""
