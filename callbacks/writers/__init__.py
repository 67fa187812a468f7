"""Prediction files of `test` and `predict`, by kind of prediction."""
