"""Numbers of images whose data has none, as COCO's results need them."""

from hashlib import sha256


def image_number(name: str) -> int:
    """The number of an image, made of its path alone: the same in every run, whatever lies beside it.

    In [0, 2^52), so that every program that reads JSON keeps all digits.
    """
    return int(sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:13], 16)
