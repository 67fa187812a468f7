"""Adversarial attacks on trained tasks: robust accuracy, figures and files."""
