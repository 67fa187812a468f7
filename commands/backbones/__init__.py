"""The `backbones` command: list backbones, and describe one by its name alone (`python cli.py backbones`)."""
