"""Networks that leave the house: preprocessing, network and decoding as one traceable module per graph.

A task joins by `Task.graphs`; see `modules.export.graph`.
"""

import modules.export.regions  # noqa: F401  (registers two-stage detectors)
from modules.export.detection import ObjectFinder, check_exportable
from modules.export.generation import noise_graph
from modules.export.graph import Graph, ImageGraph, ImageNetwork, clip_graph, image_graph
from modules.export.networks import (
    Classifier,
    ClipClassifier,
    ClipFeatures,
    FeatureExtractor,
    Segmenter,
    TagClassifier,
    feature_graphs,
)
from modules.export.preprocess import Geometry, Preprocess, preprocess_for

__all__ = [
    "Classifier",
    "ClipClassifier",
    "ClipFeatures",
    "FeatureExtractor",
    "Geometry",
    "Graph",
    "ImageGraph",
    "ImageNetwork",
    "ObjectFinder",
    "Preprocess",
    "Segmenter",
    "TagClassifier",
    "check_exportable",
    "clip_graph",
    "feature_graphs",
    "image_graph",
    "noise_graph",
    "preprocess_for",
]
