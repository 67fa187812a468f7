"""METEOR of captions (Denkowski & Lavie 2014): a Java program that pycocoevalcap brings."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

PROTOCOL = "METEOR 1.5 (English), all references, as pycocoevalcap, 0..1"


def found() -> bool:
    """True if Java and pycocoevalcap (`pip install "graft[meteor]"`) are installed."""
    return shutil.which("java") is not None and find_spec("pycocoevalcap") is not None


def meteor(
    captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> tuple[float, list[float]]:
    """METEOR of a set, and of each of N captions, 0..1.

    Args:
        captions: their words, as `captions.tokens` gives them.
        references: the words of the references of their N images, at least one each.
    """
    from pycocoevalcap.meteor.meteor import Meteor

    said = {i: [" ".join(words)] for i, words in enumerate(captions)}
    true = {i: [" ".join(words) for words in several] for i, several in enumerate(references)}
    return Meteor().compute_score(true, said)
