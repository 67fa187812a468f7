"""Base of the image captioning data modules."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import albumentations as A
import numpy as np
from torch import Tensor

from datamodules.augment import Augment, Recipe, check_area
from datamodules.base import Purpose, Split
from datamodules.cache import digest
from datamodules.captions.feature_cache import FeatureCache
from datamodules.captions.samples import CaptionDataset, Captioned, CaptionedArrays, collate
from datamodules.file_names import locate
from datamodules.image_files import ImageFilesData
from datamodules.setting_roles import Role
from datamodules.split_data import extent
from datamodules.text import text_statistics
from datamodules.text.encoded import Ids
from datamodules.text.lines import normalize_blanks
from datamodules.text.vocabulary import checked, lacking, learned
from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.contracts.preprocessing import Preprocessing
from modules.metrics.captions import bleu, tokens
from modules.text.tokenizer import Kind, Tokenizer

Listed = dict[str, list[str]]
"""The captions of each image, by its path below `images`."""


class CaptionData(ImageFilesData):
    """Base of the data modules of images with captions.

    In training each image comes with one of its captions, drawn anew in every epoch; in evaluation it comes once,
    with all of them. Empty captions are left out and listed in the run directory, and so are images without any.

    Args:
        image_size: side of the square images that the network sees, in pixels.
        crop: range of the random crop's area as a fraction of the image; null takes the center crop.
        augment: `none`, `flip` (then left is right in captions, too), `simclr`, `strong`, or albumentations transforms.
        tokenizer: `bpe`, `wordpiece`, `words` or `characters`; trained on the training captions.
        vocab_size: pieces at most; the captions may give fewer.
        max_length: pieces of a caption that the network sees; longer ones are cut and counted.
        lowercase: whether the network learns captions in lower case. References stay as they are.

    Attributes: `tokenizers`, one, which can be had before `setup`.
    """

    roles: ClassVar[dict[str, Role]] = {
        "image_size": "input",
        "crop": "training",
        "augment": "training",
        "tokenizer": "input",
        "vocab_size": "input",
        "max_length": "input",
        "lowercase": "input",
    }

    def __init__(
        self,
        image_size: int = 224,
        crop: tuple[float, float] | None = None,
        augment: Recipe | list[A.BasicTransform] = "none",
        tokenizer: Kind = "words",
        vocab_size: int = 10_000,
        max_length: int = 50,
        lowercase: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_area("crop", crop)
        self.pipelines = {"train": Augment(image_size, crop, augment), "evaluate": Augment(image_size, None, "none")}
        self.image_size, self.augmented = image_size, bool(crop) or (augment != "none" and bool(augment))
        self.features = FeatureCache()
        self.tokenizer, self.vocab_size, self.max_length, self.lowercase = tokenizer, vocab_size, max_length, lowercase
        self.encoded: dict[Split, Ids] = {}  # all captions of a source, one image's after the other's
        self.given = False  # the tokenizer, by `use`
        self.notes: list[str] = []  # lines of `describe` about encoding
        self._tokenizers: tuple[Tokenizer] | None = None

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        """The folder of the images, and the captions of each split."""
        raise NotImplementedError

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing("center_crop", (self.image_size, self.image_size))

    @property
    def tokenizers(self) -> tuple[Tokenizer]:
        """The tokenizer given by `use`, or else trained on the training captions, or found in the cache."""
        if self._tokenizers is None:
            super().setup()
            if "train" not in self.splits:
                name = type(self).__name__
                raise DataError(f"{name} has no training captions to learn a vocabulary from: set --ckpt_path")
            source, rows = self.splits["train"]
            texts = [text for i in rows for text in self._seen(source, i)]
            self._tokenizers = (learned(texts, self.tokenizer, self.vocab_size),)
        return self._tokenizers

    def use(self, *tokenizers: Tokenizer) -> None:
        """Use the tokenizer of a checkpoint; to be called before `setup`.

        Raises:
            ConfigError: the checkpoint has more than one.
        """
        if self.encoded:
            raise RuntimeError("the captions are encoded already: call use before setup")
        self._tokenizers, self.given = checked(tokenizers, 1, "captions"), True

    def sources(self) -> dict[Split, Captioned | CaptionedArrays]:
        folder, listed = self.listed()
        return {split: self._source(folder, images) for split, images in listed.items() if images}

    def image_files(self, source: Captioned | CaptionedArrays) -> Captioned | None:
        return source if isinstance(source, Captioned) else None

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for split in self.splits:
            if split not in self.encoded:
                self.encoded[split] = self._encode(split)
        if self.trainer and self.trainer.is_global_zero:
            self.write_list("dropped.txt", self.dropped)

    def dataset(self, split: Split, purpose: Purpose) -> CaptionDataset | None:
        if split not in self.splits:
            return None
        train = purpose == "train"
        make, seed = self.pipelines["train" if train else "evaluate"], self.seed if train else 0
        features, skip = self.features if split == purpose else None, self.on_error == "skip"
        whole, ids = self.original_size and not train, self.encoded[split]
        return CaptionDataset(*self.splits[split], make, seed, skip, ids, train, features, whole)

    collate = staticmethod(collate)

    def data_info(self) -> DataInfo:
        references = partial(self.references, "train")
        return replace(super().data_info(), references=references, cache_features=self.cache_features)

    def references(self, split: Split) -> list[list[str]] | None:
        """All captions of every image of a split; null without such a split."""
        if split not in self.splits:
            return None
        source, rows = self.splits[split]
        return [source.captions[i] for i in rows]

    def cache_features(self, encode: Callable[[Tensor], Tensor], key: str) -> str:
        """Cache the feature map of every training image, unless an earlier run did, and train from the cached maps.

        Args:
            encode: uint8 (B, 3, H, W) to float16 (B, C, h, w), on the host.
            key: digest of all that `encode` depends on.

        Returns:
            A line for the startup summary.

        Raises:
            ConfigError: training images are augmented, so that there is more than one map of each.
            DataError: the maps cannot be written, or images cannot be read.
        """
        if self.augmented:
            raise ConfigError(
                "model.cache_features keeps one map of each image, but these are augmented: set --data.augment none "
                "and --data.crop null"
            )
        source, rows = self.splits["train"]
        path, began = self.features.place(digest([key, self.image_size, source.fingerprint(rows)])), time.monotonic()
        if found := not path.is_file():
            self.features.write(path, len(rows), self._encoded(encode))
        self.features.use(path)
        took = f"computed in {time.monotonic() - began:.1f} s" if found else "computed by an earlier run"
        return f"  maps of {len(rows):,} training images, {path.stat().st_size / 1e6:,.0f} MB: {took}, cached in {path}"

    def about(self, split: Split) -> str:
        source, rows = self.splits[split]
        counts = [len(source.captions[i]) for i in rows]
        return f" with {sum(counts):,} captions, {extent(counts)} each"

    def more(self) -> list[str]:
        lines = text_statistics.vocabularies({"caption": self.tokenizers[0]}, None if self.given else self.vocab_size)
        lines += self.notes
        if self.dropped:
            lines.append(f"dropped: {len(self.dropped):,} captions that are empty, listed in dropped.txt")
        judged = [split for split in ("val", "test") if split in self.splits] if "train" in self.splits else []
        return lines + [
            f"the most frequent caption has BLEU-4 {self.commonest(split):.4f} on {split}" for split in judged
        ]

    def commonest(self, split: Split) -> float:
        """Corpus BLEU-4 in [0, 1] of the most frequent training caption for every image: the trivial baseline."""
        train, rows = self.splits["train"]
        counts = Counter(text.lower() for i in rows for text in train.captions[i])
        source, judged = self.splits[split]
        references = [[tokens(text) for text in source.captions[i]] for i in judged]
        return bleu([tokens(counts.most_common(1)[0][0])] * len(references), references)[3]

    def _encoded(self, encode: Callable[[Tensor], Tensor]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Rows of the training set, and their maps."""
        source, rows = self.splits["train"]
        row = {source.id(index): row for row, index in enumerate(rows)}
        for batch in self.plain_dataloader("train"):
            batch = self.on_before_batch_transfer(batch, 0)
            yield [row[name] for name in batch["id"]], encode(batch["image"]).numpy()

    def _encode(self, split: Split) -> Ids:
        source, _ = self.splits[split]
        texts = [text for i in range(len(source)) for text in self._seen(source, i)]
        (tokenizer,) = self.tokenizers
        ids = tokenizer.encode(texts)
        self.notes += lacking(tokenizer, ids, f"{split} captions", self.given)
        if cut := sum(len(row) > self.max_length for row in ids):
            self.notes.append(f"{split}: {cut:,} captions cut to {self.max_length} pieces (data.max_length)")
        return Ids.of(ids, self.max_length)

    def _seen(self, source: Captioned | CaptionedArrays, index: int) -> list[str]:
        """The captions of an image as the network sees them."""
        texts = source.captions[index]
        return [text.lower() for text in texts] if self.lowercase else texts

    def _source(self, folder: Path, listed: Listed) -> Captioned:
        captions = {}
        for name, texts in listed.items():
            said = [text for text in normalize_blanks(texts) if text]
            self.dropped += [f"{name}: empty caption"] * (len(texts) - len(said))
            if said:
                path = locate(name, [folder])
                captions[str(path.relative_to(folder)) if path and path.is_relative_to(folder) else name] = said
            else:
                self.skipped.append(f"{name} has no caption")
        if not captions:
            raise DataError(f"not one image in {folder} has a caption, such as {next(iter(listed))}: give captions")
        return Captioned.of(folder, captions)
