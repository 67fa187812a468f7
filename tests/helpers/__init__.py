"""Helpers for tests of several folders; no test module imports from another."""
