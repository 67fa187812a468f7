"""CIDEr-D reward for self-critical training of captions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modules.metrics.captions import Frequencies, Words, cider, tokens

END = "<end>"


class Reward:
    """CIDEr-D reward of captions, weighed by the references of the training images (Rennie et al. 2017).

    The end of a caption counts as a word. Otherwise captions that break off, as in "a dog on a", would get the highest
    reward.

    Args:
        references: of all training images, some each.
    """

    def __init__(self, references: Sequence[Sequence[str]]):
        self.frequencies = Frequencies.of([[_ended(text) for text in several] for several in references])

    def __call__(
        self, captions: Sequence[str], finished: Sequence[bool], references: Sequence[Sequence[str]]
    ) -> Tensor:
        """CIDEr-D rewards of sampled captions.

        Args:
            captions: N texts.
            finished: true for each that has come to its end.
            references: those of their N images.

        Returns:
            float32 (N,), 0..10.
        """
        said = [_ended(text) if whole else tokens(text) for text, whole in zip(captions, finished, strict=True)]
        true = [[_ended(text) for text in several] for several in references]
        return torch.from_numpy(cider(said, true, self.frequencies)).float()


def _ended(text: str) -> Words:
    return [*tokens(text), END]
