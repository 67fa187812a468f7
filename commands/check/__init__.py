"""The `check` command: all checks of a data module without training, and a cleaned copy of its files."""
