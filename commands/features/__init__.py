"""The `features` command: what layers and channels of a network have learned (`python cli.py features`)."""
