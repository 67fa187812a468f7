"""What one pass over a split leaves to look at, by what was predicted."""
