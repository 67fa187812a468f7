"""Insight into trained networks: layers by name, attribution maps and their faithfulness, adversarial attacks."""
