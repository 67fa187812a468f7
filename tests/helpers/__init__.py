"""What tests of several folders share; no test module imports from another."""
