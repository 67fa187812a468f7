"""From what a network says to what the user gets."""

from modules.decoding.dense import augmented, infer, padded, sliding, to_original

__all__ = ["augmented", "infer", "padded", "sliding", "to_original"]
