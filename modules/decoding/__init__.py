"""Decoding: post-processing of network outputs into predictions."""

from modules.decoding.dense import augmented, infer, padded, sliding, to_original

__all__ = ["augmented", "infer", "padded", "sliding", "to_original"]
