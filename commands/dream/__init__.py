"""`python cli.py dream`: DeepDream."""
