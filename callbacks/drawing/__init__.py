"""Drawings as arrays: each function takes plain data and returns one picture, uint8 (H, W, 3)."""
