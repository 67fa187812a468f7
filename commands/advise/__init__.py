"""`advise`: which pretraining to take for given data."""
