"""Explanations of a word of a translation over the pieces of its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callbacks.figures.explained import said
from callbacks.figures.log import log_figure
from callbacks.figures.sentences import alignments
from commands.evaluate.extraction import Result
from commands.explain.images import found_in, save_maps
from commands.explain.samples import Samples
from commands.explain.scores import Faithfulness
from modules.insight.faithfulness import area, randomization
from modules.insight.methods import Options, check_methods, check_used
from modules.insight.sentences import gradient_x_embedding, piece_deletion, word_attention
from modules.text.tokens import PAD

METHODS = ("gradient_x_input", "attention")
STEPS = 8


@dataclass(frozen=True)
class Explained:
    """Maps of several methods for the same sentences; see `commands.explain.images.Explained`."""

    task: Any
    samples: Samples
    targets: list[Any]
    words: list[str]
    methods: Sequence[str]

    def again(self, name: str) -> Tensor:
        """Absolute maps (B, S) of a method, of the network as it is now; 0 at padding."""
        batch, task = self.samples.batch, self.task
        if name == "attention":
            with torch.no_grad():
                return word_attention(task.decoder, task.memory(batch), self.targets).cpu()
        score = lambda: task.target_score(batch, self.targets)  # noqa: E731
        found = gradient_x_embedding(task, task.encoder.embedding, score).abs()
        return found.masked_fill(batch["source"] == PAD, 0).cpu()

    @property
    def maps(self) -> dict[str, Tensor]:
        """Maps by method."""
        return {name: self.again(name) for name in self.methods}


def explain_sentences(
    task: Any, samples: Samples, methods: Sequence[str], wanted: str | None, options: Options
) -> Explained:
    """Check methods and target of sentences; see `Trainer.explain`."""
    task.eval()
    check_methods(methods, METHODS)
    with torch.no_grad():
        targets = task.targets(samples.batch, wanted)
    samples, targets = found_in(samples, targets)
    methods = methods or (METHODS if task.decoder.attends else METHODS[:1])
    check_used(methods, options)
    return Explained(task, samples, targets, [said(one, None, task) for one in targets], methods)


def show_sentences(trainer: Any, found: Explained, depths: int) -> list[Result]:
    """Draw and write the maps, and measure their faithfulness."""
    batch, maps, task = found.samples.batch, found.maps, found.task
    lengths = (batch["source"] != PAD).sum(1).tolist()
    pieces = [task.tokenizers[0].pieces(row[:n].tolist()) for row, n in zip(batch["source"], lengths, strict=True)]
    shares = [
        torch.stack([one[i, :n] / one[i, :n].max().clamp(min=1e-12) for one in maps.values()])
        for i, n in enumerate(lengths)
    ]
    title = f"Pieces of the source that the word at the left depends on; rows: {', '.join(maps)}"
    rows = [[word] * len(maps) for word in found.words]
    log_figure(trainer, "explanations", alignments([one.numpy() for one in shares], pieces, rows, title))
    about = {
        "ids": np.array(found.samples.ids),
        "targets": np.array(found.words),
        "source": batch["source"].cpu().numpy(),
    }
    save_maps(Path(trainer.default_root_dir), about | {name: one.numpy() for name, one in maps.items()})
    return _judge(found, maps, lengths, depths, trainer.datamodule.seed).results(found.samples.split, found.samples.ids)


def _judge(found: Explained, maps: dict[str, Tensor], lengths: list[int], depths: int, seed: int) -> Faithfulness:
    """Deletion of pieces beside a random order, and randomized weights."""
    measured, generator = Faithfulness(), torch.Generator().manual_seed(seed)
    orders = {"random": [torch.randperm(n, generator=generator) for n in lengths]}
    orders |= {name: [one[i, :n].argsort(descending=True) for i, n in enumerate(lengths)] for name, one in maps.items()}
    for name, each in orders.items():
        lines = []
        for i, order in enumerate(each):

            def score(source: Tensor, i: int = i) -> Tensor:
                with torch.no_grad():
                    return found.task.target_score({"source": source}, [found.targets[i]] * len(source))

            lines.append(piece_deletion(score, found.samples.batch["source"][i, : lengths[i]], order, STEPS))
        measured.values[name] = {"deletion": area(torch.stack(lines)).cpu()}
    for name in maps:
        below = measured.values["random"]["deletion"] - measured.values[name]["deletion"]
        measured.values[name]["deletion_below_random"] = below
        if depths:
            _, correlations = randomization(found.task, lambda name=name: found.again(name), depths, seed)
            measured.values[name]["randomized"] = correlations[-1]
    return measured
