"""Explanations of single predictions: attribution maps, their faithfulness, figures."""
