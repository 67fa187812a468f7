"""Loggers of a run: metrics.csv, W&B (offline where there is no login or no network), TensorBoard."""
