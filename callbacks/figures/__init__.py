"""Drawings as arrays: each function takes plain data and returns one figure, uint8 (H, W, 3)."""
