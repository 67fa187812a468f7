"""Targets that a prediction is explained by, and their differentiable scores, one (B,) for a batch."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_iou

from modules.contracts import ConfigError, suggest
from modules.decoding.boxes import Detection
from modules.text.decoder import Decoder
from modules.text.encoder import EncoderOutput
from modules.text.tokens import BOS, PAD

SOME = 12
"""Words or classes that a sentence lists."""


class Box(NamedTuple):
    """A detected object: `box` float (4,) xyxy in pixels of the network's image, `label` in 0..C-1, `score` 0..1."""

    box: Tensor
    label: int
    score: float


class Region(NamedTuple):
    """A class at some pixels of a class map: `label` in 0..C-1, `pixels` bool (H, W) of the network's image."""

    label: int
    pixels: Tensor


class Reference(NamedTuple):
    """An image that another is compared with: its `features` (D,), and its `name`."""

    features: Tensor
    name: str


class Word(NamedTuple):
    """A word of a text: its tokens are those of `tokens` in [start, end), given the ones before."""

    tokens: list[int]
    start: int
    end: int


def class_index(wanted: str, classes: Sequence[str]) -> int:
    """Index of a class by its name or number.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    if wanted in classes:
        return list(classes).index(wanted)
    if wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    names = f"{', '.join(classes[:SOME])}{', ...' * (len(classes) > SOME)}"
    hint = suggest(wanted, list(classes)) or f": choose one of {names}, or a number below {len(classes)}"
    raise ConfigError(f"--target is {wanted!r}, which is no class{hint}")


def number(wanted: str, count: int, what: str) -> int:
    """Index of one of `count` things by its number.

    Raises:
        ConfigError: no number, or too high.
    """
    if not wanted.isdecimal() or int(wanted) >= count:
        there = f"0 to {count - 1}" if count else "of which there are none here"
        raise ConfigError(f"--target is {wanted!r}, but must be the number of {what}: {there}")
    return int(wanted)


def find_references(features: Tensor, names: Sequence[str], wanted: str | None) -> list[Reference | None]:
    """For each of B images another one to compare it with.

    Args:
        features: (B, D).
        names: B of them.
        wanted: number of an image, which is compared with all others and is null itself; null is the next one.

    Raises:
        ConfigError: no such image, or none beside it.
    """
    references = [Reference(*one) for one in zip(features, names, strict=True)]
    if wanted is not None:
        row = number(wanted, len(names), "a sample to compare with, or an image file")
        return [None if i == row else references[row] for i in range(len(names))]
    if len(references) < 2:
        raise ConfigError(
            f"the features of {names[0]} have none to be compared with: raise --count, or give a --target"
        )
    return [*references[1:], references[0]]


def class_score(logits: Tensor, targets: Sequence[int]) -> Tensor:
    """Logits (B,) of a class each, of (B, C)."""
    return logits.float().gather(1, torch.as_tensor(targets, device=logits.device)[:, None])[:, 0]


def box_score(found: Sequence[Detection], targets: Sequence[Box]) -> Tensor:
    """Scores (B,) of a box each: highest product of score and IoU over the detections of its class.

    0 where none overlaps the box (Petsiuk et al. 2021, D-RISE).

    Args:
        found: detections of each image, whose scores have gradients.
        targets: a box of each image.
    """
    scores = []
    for one, target in zip(found, targets, strict=True):
        same = one["labels"] == target.label
        overlap = box_iou(one["boxes"][same].detach(), target.box[None].to(one["boxes"]))[:, 0]
        product = one["scores"][same] * overlap
        scores.append(product.max() if len(product) else one["scores"].sum() * 0)
    return torch.stack(scores)


def find_box(found: Detection, wanted: str | None) -> Box | None:
    """Detection of an image by its number, by default the best; null where there are not so many.

    Raises:
        ConfigError: no number.
    """
    wanted = "0" if wanted is None else wanted
    if not wanted.isdecimal():
        raise ConfigError(f"--target is {wanted!r}, but must be the number of a box, 0 the one of the best score")
    i = int(wanted)
    if i >= len(found["boxes"]):
        return None
    return Box(found["boxes"][i].detach(), int(found["labels"][i]), found["scores"][i].item())


def region_score(logits: Tensor, targets: Sequence[Region]) -> Tensor:
    """Mean logit (B,) of a class over its pixels each, of (B, C, H, W)."""
    pairs = zip(logits.float(), targets, strict=True)
    return torch.stack([one[target.label][target.pixels.to(one.device)].mean() for one, target in pairs])


def find_region(logits: Tensor, wanted: str | None, classes: Sequence[str]) -> Region:
    """Region of an image that has a class, or the class of a pixel.

    Args:
        logits: (C, H, W).
        wanted: class by its name or number, or the pixel `x,y`; null is the largest class found but the background.
        classes: names.

    Raises:
        ConfigError: no class, or a pixel outside of the image.
    """
    found = logits.argmax(0)
    height, width = found.shape
    if wanted and (place := re.fullmatch(r"(\d+),(\d+)", wanted)):
        x, y = map(int, place.groups())
        if x >= width or y >= height:
            raise ConfigError(f"--target is {wanted!r}, but the image has pixels up to {width - 1},{height - 1}")
        pixels = torch.zeros_like(found, dtype=torch.bool)
        pixels[y, x] = True
        return Region(int(found[y, x]), pixels)
    if wanted is None:
        counts = found.flatten().bincount(minlength=len(classes))
        counts[[i for i, name in enumerate(classes) if name == "background"]] = 0
        label = int(counts.argmax())
    else:
        label = class_index(wanted, classes)
    pixels = found == label
    return Region(label, pixels if pixels.any() else ~pixels)


def word_score(decoder: Decoder, memory: EncoderOutput, targets: Sequence[Word]) -> Tensor:
    """Log-probability (B,) of a word each, given the source and the tokens before it (teacher forcing)."""
    device = memory.states.device
    texts = [torch.tensor([BOS, *one.tokens[: one.end]], device=device) for one in targets]
    text = pad_sequence(texts, batch_first=True, padding_value=PAD)
    logs = decoder(text[:, :-1], memory).float().log_softmax(2).gather(2, text[:, 1:, None])[..., 0]
    return torch.stack([row[one.start : one.end].sum() for row, one in zip(logs, targets, strict=True)])


def find_words(texts: Sequence[Sequence[str]], wanted: str | None) -> list[tuple[int, int] | None]:
    """First and last + 1 piece of a word of each text; null where a text has no such word.

    Args:
        texts: spelling of the pieces of each: `▁` begins a word, `##` continues one.
        wanted: number or spelling; null is the longest one.

    Raises:
        ConfigError: no text has it; names the words.
    """
    marked = any(piece.startswith("▁") for pieces in texts for piece in pieces)
    spelled = [_words(pieces, marked) for pieces in texts]
    found = [_span(words, wanted) for words in spelled]
    if wanted is None or any(found) or not any(spelled):
        return found
    if wanted.isdecimal():
        number(wanted, max(map(len, spelled)), "a word of the output")
    words = list(dict.fromkeys(word for text in spelled for word, _ in text))
    hint = suggest(wanted, words) or f": {' '.join(words[:SOME])}{' ...' * (len(words) > SOME)}"
    raise ConfigError(f"--target is {wanted!r}, which is no word of the output{hint}")


def _words(pieces: Sequence[str], marked: bool) -> list[tuple[str, tuple[int, int]]]:
    """Words of a text, each with its first and last + 1 piece."""
    starts = [i for i, piece in enumerate(pieces) if i == 0 or (piece[0] == "▁" if marked else piece[:2] != "##")]
    spans = list(zip(starts, [*starts[1:], len(pieces)], strict=True)) if pieces else []
    return [("".join(pieces[a:b]).replace("▁", "").replace("##", ""), (a, b)) for a, b in spans]


def _span(words: Sequence[tuple[str, tuple[int, int]]], wanted: str | None) -> tuple[int, int] | None:
    if wanted is None:
        return max(words, key=lambda one: len(one[0]))[1] if words else None
    spans = [span for word, span in words if word == wanted]
    if wanted.isdecimal() and not spans:
        spans = [span for _, span in words][int(wanted) :]
    return spans[0] if spans else None
