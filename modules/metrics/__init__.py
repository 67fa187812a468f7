"""Metrics that no library has the way we need them."""
