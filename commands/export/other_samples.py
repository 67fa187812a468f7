"""Exported files on samples that are no single images, clips, sentences and noise; texts as answers."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from commands.export.beam_search import PAD, State, search
from commands.export.vocabulary import EOS, Vocabulary
from modules.contracts import DataError

BATCH = 32  # most images made in a run


class Model(Protocol):
    """An exported file, as `commands.export.runtime` opens it."""

    metadata: dict[str, Any]

    def part(self, name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
        """Another graph of the file."""
        ...

    def outputs(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Outputs of the file in the order of `metadata["outputs"]`."""
        ...


def videos(model: Model, samples: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Predictions of videos, each by its views uint8 (V, T, H, W, 3), whose probabilities are averaged.

    Raises:
        DataError: a sample is no such array, or of another number of frames.
    """
    frames, found = model.metadata["settings"]["frames"], []
    for i, views in enumerate(samples):
        if (
            not isinstance(views, np.ndarray)
            or views.dtype != np.uint8
            or views.shape[1:2] + views.shape[4:] != (frames, 3)
        ):
            raise DataError(f"video {i} is no array uint8 (views, {frames} frames, H, W, 3)")
        values = dict(zip(model.metadata["outputs"], model.outputs({"video": views}), strict=True))
        scores = tempered(values["scores"].mean(0), model.metadata["settings"].get("temperature", 1.0))
        found.append({"label": scores.argmax(), "scores": scores})
    return found


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (C,) as `modules.decoding.temperature.scaled` makes them, without torch."""
    if temperature == 1:
        return scores
    powers = np.maximum(scores, 1e-12) ** (1 / temperature)
    return powers / powers.sum()


def noise(model: Model, samples: Sequence[int | tuple[np.ndarray, int]]) -> list[dict[str, Any]]:
    """Images of noise (latent,) with its label, or of a number, which stands for its own noise and label."""
    settings, classes = model.metadata["settings"], len(model.metadata["classes"] or "-")
    found: list[dict[str, Any]] = []
    for start in range(0, len(samples), BATCH):
        rows = []
        for sample in samples[start : start + BATCH]:
            if isinstance(sample, int):
                sample = (
                    np.random.default_rng((0, sample)).standard_normal(settings["latent"], np.float32),
                    sample % classes,
                )
            rows.append(sample)
        inputs = {"noise": np.stack([row for row, _ in rows])}
        if settings["conditional"]:
            inputs["label"] = np.array([label for _, label in rows], np.int64)
        (made,) = model.outputs(inputs)
        labels = ({"label": int(label)} if settings["conditional"] else {} for _, label in rows)
        found += [{"generated": image} | label for image, label in zip(made, labels, strict=True)]
    return found


def sentences(model: Model, samples: Sequence[str | np.ndarray]) -> list[dict[str, Any]]:
    """Translations of sentences, or of their token ids with EOS; of an empty one an empty text."""
    found, settings = [], model.metadata["settings"]
    vocabulary = Vocabulary(settings["tokenizers"][0])
    longest = model.metadata["train"]["data"]["init_args"].get("max_length")
    rows = [
        [*vocabulary.encode(sample)[:longest], EOS] if isinstance(sample, str) else list(sample) for sample in samples
    ]
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        source = np.full((len(part), max(map(len, part))), PAD, np.int64)
        for place, row in zip(source, part, strict=True):
            place[: len(row)] = row
        values = dict(zip(model.metadata["outputs"], model.outputs({"source": source}), strict=True))
        answers = texts_of(model, values)
        found += [answer if len(row) > 1 else _empty(answer) for row, answer in zip(part, answers, strict=True)]
    return found


def _empty(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {key: type(answer[key])() for key in answer.keys() & {"text", "alternatives"}}


def texts_of(model: Model, state: State) -> list[dict[str, Any]]:
    """Texts by the decoder of a file, from the first state of each source."""
    settings, decoder = model.metadata["settings"], model.part("decoder")
    vocabulary = Vocabulary(settings["tokenizers"][-1])

    def step(tokens: np.ndarray, known: State) -> tuple[np.ndarray, State]:
        new = decoder({"tokens": tokens, **known})
        return new.pop("logs"), {name.removeprefix("new_"): value for name, value in new.items()}

    found = []
    for best, *more in search(step, state, settings["search"]):
        answer: dict[str, Any] = {"text": vocabulary.decode(best.tokens), "finished": best.finished}
        answer["log_probability"] = best.log_probability
        if settings["search"]["num_return_sequences"] > 1:
            answer["alternatives"] = [vocabulary.decode(one.tokens) for one in (best, *more)]
        found.append(answer)
    return found


RUNS: dict[str, Callable[[Model, Sequence[Any]], list[dict[str, Any]]]] = {
    "video": videos,
    "text": sentences,
    "noise": noise,
}
"""Kind of samples -> their predictions by a file."""
