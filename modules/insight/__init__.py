"""Insight into trained networks: layers by name, attribution maps, and the faithfulness of these maps."""
