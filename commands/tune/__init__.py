"""The `tune` command: a search for better settings of one task, every trial a `fit` of its own."""
