"""The `inspect` command: costs, signals and curvature of a network, layer by layer (`python cli.py inspect`)."""
