"""What is watched of generators."""
