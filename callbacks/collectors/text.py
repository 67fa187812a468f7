"""Collector for translation and captioning: samples, best and worst sentences, attention maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.nn.functional import interpolate

from callbacks.collectors.base import HASH_MULTIPLIER, Collector, arrays, exchanged, visible
from callbacks.figures.base import PLAIN, RIGHT, shorten_start
from callbacks.figures.sentences import alignments, attention_maps, captioned, sentence_table
from callbacks.writers.per_class import write_csv
from modules.contracts import Backbone, Batch, Prediction
from modules.metrics.captions import cider, tokens
from modules.metrics.translation import sentence_bleu

SIDE = 300  # pixels of the longer side of an image that is kept
MAPS = 6  # sentences whose attention is drawn
EMPTY = "(empty)"


class Sentence(NamedTuple):
    """Hypothesis with its source and references; `source` is "" for an image."""

    id: str
    source: str
    said: str
    true: list[str]


class FigureInput(NamedTuple):
    """Inputs of a sentence's figure.

    Image as JPEG, attention float16 (T, S) or (T, h, w), T tokens of the hypothesis and S tokens of the source.
    """

    image: np.ndarray | None
    attention: np.ndarray | None
    pieces: Sequence[str]
    source_pieces: Sequence[str]


class TextCollector(Collector):
    """Collect predictions `{text}` and their scores.

    Images with `captions` are scored by CIDEr-D, sentences with a `target_text` by sentence BLEU.

    Optional keys: `attention`, a list of (T, S) over the source or (T, h, w) over the image, None where not kept;
    `pieces` and `source_pieces`, lists of T and of S tokens. CIDEr-D needs all references, so everything is kept:
    text, small JPEGs and attention.
    """

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.metric = "sentence BLEU"
        self.bleu: dict[str, Any] = {}  # settings of sacreBLEU
        self.sentences: list[Sentence] = []
        self.places: list[int] = []  # of the sentences in the split
        self.inputs: list[FigureInput] | dict[int, FigureInput] = []  # of all; after `gather` of the chosen, by place
        self.scores: list[float] = []
        self.chosen: dict[str, list[int]] = {}

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        said, self.bleu = outputs["text"], getattr(task, "bleu", {})
        self.places += range(first, first + len(said))
        self.metric = "CIDEr-D" if "captions" in batch else "sentence BLEU"
        true = batch["captions"] if "captions" in batch else [[text] for text in batch["target_text"]]
        sources = batch.get("source_text", [""] * len(said))
        self.sentences += map(Sentence, batch["id"], sources, said, map(list, true))
        images = jpegs(batch, task.backbone) if "image" in batch else [None] * len(said)
        weights = [None if one is None else one.half().cpu().numpy() for one in _listed(outputs, "attention", said)]
        pieces = (_listed(outputs, name, said) for name in ("pieces", "source_pieces"))
        self.inputs += map(FigureInput, images, weights, *pieces)

    def gather(self) -> None:
        mine = dict(zip(self.places, self.inputs, strict=True))
        everyone = exchanged((self.places, self.sentences, self.metric))
        self.metric = next(metric for places, _, metric in everyone if places)
        found = sorted(pair for places, sentences, _ in everyone for pair in zip(places, sentences, strict=True))
        self.places, self.sentences = [place for place, _ in found], [sentence for _, sentence in found]
        self.scores = self.sentence_scores()
        self.chosen = choose(self.sentences, self.scores, self.sample.size)
        drawn = {i: self.places[i] for chosen in self.chosen.values() for i in chosen}
        shares = exchanged({i: mine[place] for i, place in drawn.items() if place in mine})
        self.inputs = {i: one for share in shares for i, one in share.items()}

    def sentence_scores(self) -> list[float]:
        """Score of each sentence: CIDEr-D, 0..10, or sentence BLEU, 0..100."""
        said, true = [one.said for one in self.sentences], [one.true for one in self.sentences]
        if self.metric == "CIDEr-D":
            return cider([*map(tokens, said)], [[*map(tokens, several)] for several in true]).tolist()
        return sentence_bleu(said, [first for first, *_ in true], **self.bleu)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        places = sorted(range(len(self.scores)), key=self.scores.__getitem__)
        rows = ([self.sentences[i].id, f"{self.scores[i]:.4f}", *self._cells(i)] for i in places)
        write_csv(folder / f"{stage}_sentences.csv", [["id", self.metric, *self._headings()], *rows])

    def tables(self, stage: str) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
        rows = [[self.sentences[i].id, *self._shown(i), self.scores[i]] for i in self.chosen["predictions"]]
        yield "predictions", ["id", *self._headings(), self.metric], rows

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        mean, search = sum(self.scores) / len(self.scores), str(getattr(task, "searched", ""))
        by = f" by {search}" if search else ""
        titles = {
            "predictions": f"{stage}: {len(self.chosen['predictions'])} of {len(self.scores):,} sentences{by}, "
            f"mean {self.metric} {mean:.2f}",
            "best": f"{stage}: the sentences{by} with the highest {self.metric}",
            "mistakes": f"{stage}: the sentences{by} with the lowest {self.metric}",
        }
        for name, places in self.chosen.items():
            drawn = self._images if places and self.inputs[places[0]].image is not None else self._table
            yield name, drawn(places, titles[name])
        known = [self.inputs[i] for i in self.chosen["predictions"] if self.inputs[i].attention is not None][:MAPS]
        if known:
            yield "attention", _attention(known, ", ".join(filter(None, (f"{stage}: attention of each word", search))))

    def _headings(self) -> list[str]:
        return ["hypothesis", "references"] if self.metric == "CIDEr-D" else ["source", "hypothesis", "reference"]

    def _cells(self, place: int) -> list[str]:
        one = self.sentences[place]
        return [*([] if self.metric == "CIDEr-D" else [one.source]), one.said, "\n".join(one.true)]

    def _shown(self, place: int) -> list[str]:
        """The cells for a reader, who would take an empty one for a fault."""
        return [cell or EMPTY for cell in self._cells(place)]

    def _table(self, places: list[int], title: str) -> np.ndarray:
        rows = [[*self._shown(i), f"{self.scores[i]:.1f}"] for i in places]
        headings = [*self._headings(), self.metric]
        widths = [*[44] * (len(headings) - 1), 14]
        return sentence_table(rows, headings, title, widths, [self._color(i) for i in places])

    def _images(self, places: list[int], title: str) -> np.ndarray:
        captions = []
        for i in places:
            one = self.sentences[i]
            captions.append(f"{one.said or EMPTY}\ntrue: {one.true[0]}\n{self.metric} {self.scores[i]:.2f}")
        images = [decoded(self.inputs[i].image) for i in places]
        return captioned(images, captions, title, [self._color(i) for i in places])

    def _color(self, place: int) -> str:
        return RIGHT if exact(self.sentences[place]) else PLAIN


def choose(sentences: Sequence[Sentence], scores: Sequence[float], count: int) -> dict[str, list[int]]:
    """Indices of sentences for figures: `predictions`, spread over all.

    `best`, ties broken by length; `mistakes`, the worst ones that match no reference.
    """
    places = range(len(sentences))
    spread = {place: place * HASH_MULTIPLIER % 2**32 for place in places}
    return {
        "predictions": sorted(places, key=spread.__getitem__)[:count],
        "best": sorted(places, key=lambda i: (-scores[i], -len(sentences[i].said), spread[i]))[:count],
        "mistakes": sorted((i for i in places if not exact(sentences[i])), key=lambda i: (scores[i], spread[i]))[
            :count
        ],
    }


def exact(sentence: Sentence) -> bool:
    """Exact match with one of the references, ignoring whitespace."""
    return sentence.said.split() in [text.split() for text in sentence.true]


def jpegs(batch: Batch, backbone: Backbone) -> list[np.ndarray]:
    """Images of a batch as the network sees them, at most `SIDE` pixels, as JPEG files uint8 (bytes,)."""
    shown = visible(batch["image"], backbone)
    factor = min(1.0, SIDE / max(shown.shape[-2:]))
    if factor < 1:
        shown = interpolate(shown.float(), scale_factor=factor, mode="area").to(torch.uint8)
    images = arrays(shown)
    if "inside" in batch:
        sides = (batch["inside"] * factor).long().clamp(min=1).tolist()
        images = [image[:height, :width] for image, (height, width) in zip(images, sides, strict=True)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
    return [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1] for image in images]


def draw_pairs(batch: Batch, samples: int, backbone: Backbone | None, data: LightningDataModule) -> np.ndarray:
    """The first pairs of a training batch of sentences."""
    rows = list(zip(batch["source_text"][:samples], batch["target_text"][:samples], strict=True))
    return sentence_table(rows, ("source", "target"), "First training batch", (60, 60))


def draw_captioned(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """First images of a training batch with their first captions; of the training set if the batch has cached maps."""
    if "image" not in batch:
        first = data.dataset("train", "plain")
        batch = data.collate([first[0, row] for row in range(min(samples, len(first)))])
    images = arrays(visible(batch["image"][:samples], backbone))
    named = zip(batch["captions"][:samples], batch["id"][:samples], strict=True)
    captions = [f"{first}\n{shorten_start(name, 34)}" for (first, *_), name in named]
    return captioned(images, captions, "First training batch as the network sees it")


def _attention(known: list[FigureInput], title: str) -> np.ndarray:
    maps, pieces = [one.attention for one in known], [one.pieces for one in known]
    if maps[0].ndim == 2:
        return alignments(maps, [one.source_pieces for one in known], pieces, title)
    return attention_maps([decoded(one.image) for one in known], maps, pieces, title)


def decoded(jpeg: np.ndarray) -> np.ndarray:
    """Decode one of `jpegs` to uint8 (H, W, 3)."""
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)


def _listed(outputs: Prediction, key: str, like: Sequence[str]) -> Sequence[Any]:
    return outputs.get(key, [None] * len(like))
