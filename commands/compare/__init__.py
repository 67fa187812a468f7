"""The `compare` command: one task trained from several starts with several seeds, every run a `fit` of its own."""
