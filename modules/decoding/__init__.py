"""Decoding: post-processing of network outputs into predictions."""

from modules.decoding.dense import infer, padded, sliding, to_original
from modules.decoding.tta import augmented

__all__ = ["augmented", "infer", "padded", "sliding", "to_original"]
