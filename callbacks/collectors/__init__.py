"""Collectors of examples and counts over one pass of a split, by kind of prediction."""
