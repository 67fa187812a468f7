"""The built-in world as a data module of sentences: English to German."""

from typing import ClassVar

from datamodules.base import Split
from datamodules.setting_roles import Role
from datamodules.synthetic.language import statement
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.world import SeededRandom
from datamodules.text.bitext import Bitext
from datamodules.text.text_data import TextData
from modules.text.tokenizer import Kind

APART = 2 << 32  # the draws of sentences from those of scenes and motions, with the same seed


class ShapesSentences(TextData):
    """Built-in data: English sentences about things of the built-in world, and their German translations.

    Drawn when a run starts, the same on every machine; no sentence occurs twice. A translation has to agree in gender,
    case and number, to decline adjectives three ways, and to put the verb where it belongs; no word can be copied.

    Args:
        train: training pairs.
        val: validation pairs.
        test: test pairs.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(
        self,
        train: int = 4000,
        val: int = 500,
        test: int = 1000,
        tokenizer: Kind = "words",
        shared_vocab: bool = False,
        **kwargs,
    ):
        super().__init__(tokenizer=tokenizer, shared_vocab=shared_vocab, **kwargs)
        self.counts = sizes(train, val, test)
        self.val_split = self.val_split if val else 0.0  # none was asked for

    def sources(self) -> dict[Split, Bitext]:
        told: set[str] = set()  # test first: how many train pairs there are changes none of them
        drawn = {split: self._draw(split, told) for split in ("test", "val", "train") if self.counts[split]}
        return {split: drawn[split] for split in self.counts if split in drawn}

    def _draw(self, split: Split, told: set[str]) -> Bitext:
        source, target, index = [], [], APART + FIRST[split]
        while len(source) < self.counts[split]:
            said = statement(SeededRandom(WORLD, index))
            english, index = said.english(), index + 1
            if english not in told:
                told.add(english)
                source.append(english)
                target.append(said.german())
        return Bitext(source, target, (f"{split}.en", f"{split}.de"))
