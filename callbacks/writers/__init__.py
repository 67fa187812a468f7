"""What `test` and `predict` find, as files, by what was predicted."""
