"""Networks that leave the house: preprocessing, network and decoding as one traceable module per graph.

A task joins by `Task.graphs`; see `modules.export.graph`.
"""

from modules.export.graph import Graph, ImageGraph, ImageNetwork, image_graph
from modules.export.networks import Classifier, FeatureExtractor, Segmenter, feature_graphs
from modules.export.preprocess import Geometry, Preprocess, preprocess_for

__all__ = [
    "Classifier",
    "FeatureExtractor",
    "Geometry",
    "Graph",
    "ImageGraph",
    "ImageNetwork",
    "Preprocess",
    "Segmenter",
    "feature_graphs",
    "image_graph",
    "preprocess_for",
]
