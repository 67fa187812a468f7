"""`python cli.py demo`: a page on which a trained network is tried."""
