"""Target tokens per second in training and sentences per second in beam search, beside JoeyNMT 2.3, on Multi30k.

Both sides are a Transformer of 4 + 4 layers, 128 wide, feed-forward 256, 4 heads, pre-norm, dropout 0.1, label
smoothing 0.1, with 6,000 joint pieces and all embeddings tied, in float32. Ours trains under `cli.py fit`, with its
loader, clipping and schedule; JoeyNMT's model, loss and optimizer run in a plain loop. Tokens of the target count,
padding does not. The search has a beam of 5, length penalty 1, 64 sentences in a batch and texts of at most 1.5 times
its longest source, the last two JoeyNMT's defaults; its weights are those of a short training before. Both sides start
from the same weights, and the run stops if their logits differ.

Each measurement is made twice. Made equal: JoeyNMT gets our batches, of sentences of similar length, and no dropout of
the weights of attention. As it comes: its batches hold sentences in random order (in search, in the order of the file),
so more padding, and its attention has the dropout that it ties to the others.
"""

import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from sacrebleu import corpus_bleu
from torch import nn

from benchmarks.overhead import TASKS, WARM_UP, surroundings
from benchmarks.report import Comparison, compare, in_pairs, parser
from commands.fit import CLI
from commands.silence import silence_messages
from datamodules.text.encoded import EncodedPairs
from modules.contracts import Batch
from modules.text.search import Search
from modules.text.tokens import PAD
from tasks import Translation

if find_spec("joeynmt"):
    from benchmarks import joey

LAYERS, TOKENS, SENTENCES, BEAM, ALPHA, LONGEST = 4, 2048, 64, 5, 1.0, 1.5
INSTALL = (
    "JoeyNMT is not installed; it asks for libraries older than ours, so leave those out: pip install --no-deps "
    'joeynmt==2.3.0 sentencepiece==0.2.3 subword-nmt==0.3.8 importlib_metadata==8.7.0 zipp==4.1.2 "tensorboard>=2.20"'
)


class Steps(Callback):
    """The batches of a training, and the time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.batches: list[Batch] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, _: int
    ) -> None:
        self.ends.append(time.perf_counter())
        self.batches.append({key: batch[key] for key in ("source", "target")})


def fit(root: Path, **trainer: int) -> tuple[Translation, dict[str, EncodedPairs], Steps]:
    """Train without validation under `cli.py fit`; returns the task, its data by split, and its steps."""
    with TemporaryDirectory() as folder, surroundings():
        typed = {
            "--config": TASKS / "translation.yaml",
            "--run_dir": f"{folder}/run",
            "--data": "Multi30k",
            "--data.root": root,
            "--data.batch_tokens": TOKENS,
            "--model.encoder.layers": LAYERS,
            "--model.decoder.layers": LAYERS,
            "--trainer.precision": 32,
            "--trainer.accelerator": "cpu",
            "--trainer.limit_val_batches": 0,
            "--trainer.limit_test_batches": 0,
            "--trainer.callbacks": "benchmarks.translation.Steps",
            **{f"--trainer.{name}": value for name, value in trainer.items()},
        }
        silence_messages()
        run = CLI(["fit", *(f"{name}={value}" for name, value in typed.items())])
    # by name: the command line imports this file a second time when it runs as __main__
    steps = next(c for c in run.trainer.callbacks if type(c).__name__ == "Steps")
    return run.model.eval(), run.datamodule.encoded, steps


def rate(counts: list[int], ends: list[float]) -> float:
    """Sum of the counts after the warm-up per second; `ends` holds the time at the end of each step."""
    return sum(counts[WARM_UP:]) / (ends[-1] - ends[WARM_UP - 1])


def training(
    task: Translation, pairs: EncodedPairs, batches: list[Batch], root: Path, repeats: int
) -> list[Comparison]:
    """Target tokens per second."""
    same, own = joey.network(task), joey.network(task, as_it_comes=True)
    loader = joey.Pairs(pairs, own.src_vocab).batches(TOKENS)

    def ours() -> float:
        *_, steps = fit(root, max_steps=len(batches))
        if not all(torch.equal(a["target"], b["target"]) for a, b in zip(steps.batches, batches, strict=True)):
            raise RuntimeError("the two sides do not train on the same batches")
        return rate([int(batch["target"][:, 1:].ne(PAD).sum()) for batch in batches], steps.ends)

    def peer(network: nn.Module, batches: Iterable["joey.Batch"]) -> float:
        counts, ends = [], []
        for count in joey.train(deepcopy(network), batches):
            counts.append(count)
            ends.append(time.perf_counter())
        return rate(counts, ends)

    def both() -> tuple[float, float]:
        return peer(same, map(joey.batch, batches)), peer(own, islice(loader, len(batches)))

    return two_rows("training", "target tokens/s", *in_pairs(ours, both, repeats), ">= 2.5")


def searching(
    task: Translation, test: EncodedPairs, sentences: int, repeats: int
) -> tuple[list[Comparison], dict[str, Any]]:
    """Sentences per second, and BLEU and agreement of the translations."""
    theirs = joey.network(task)
    rows = np.linspace(0, len(test) - 1, min(sentences, len(test))).round().astype(int)
    by_length, in_order = (
        [test[0, part] for part in np.split(order, range(SENTENCES, len(order), SENTENCES))]
        for order in (rows[np.argsort(test.lengths[rows], kind="stable")], rows)
    )
    found: dict[str, list[str]] = {}

    def timed(who: str, search: Callable[[], list[list[int]]]) -> float:
        began = time.perf_counter()
        tokens = search()
        seconds = time.perf_counter() - began
        found[who] = task.tokenizers[-1].decode(tokens)
        return len(tokens) / seconds

    def ours() -> float:
        return timed("ours", lambda: translate(task, by_length))

    def both() -> tuple[float, float]:
        own = timed("peer", lambda: joey.translate(theirs, in_order, BEAM, ALPHA))
        return timed("peer", lambda: joey.translate(theirs, by_length, BEAM, ALPHA)), own

    rates = in_pairs(ours, both, repeats)
    references = [[text for batch in by_length for text in batch["target_text"]]]
    facts = {f"bleu of {who}": round(corpus_bleu(texts, references).score, 2) for who, texts in found.items()}
    facts["same"] = sum(a == b for a, b in zip(found["ours"], found["peer"], strict=True)) / len(rows)
    return two_rows(f"beam of {BEAM}", "sentences/s", *rates, ">= 4"), facts


def translate(task: Translation, batches: list[Batch]) -> list[list[int]]:
    """The best of a beam for each sentence."""
    found = []
    for batch in batches:
        search = Search(BEAM, ALPHA, max_length=int(LONGEST * batch["source"].shape[1]))
        with torch.inference_mode():
            found += [best.tokens for best, *_ in search(task.decoder, task.memory(batch))]
    return found


def two_rows(what: str, unit: str, ours: list[float], both: list[tuple[float, float]], mark: str) -> list[Comparison]:
    """A row of JoeyNMT made equal to ours and one of JoeyNMT as it comes."""
    names, rates = (f"{what}, made equal", f"{what}, as it comes"), zip(*both, strict=True)
    return [Comparison(name, unit, ours, list(peer), mark) for name, peer in zip(names, rates, strict=True)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder of Multi30k: train.en.gz, train.de.gz, ...")
    options.add_argument("--steps", type=int, default=30, help="training steps that count; 0 leaves training out")
    options.add_argument("--sentences", type=int, default=256, help="test sentences that are translated; 0 for none")
    options.add_argument("--epochs", type=int, default=1, help="epochs of the training before the search")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    if find_spec("joeynmt") is None:
        options.error(INSTALL)
    root = args.root.resolve()
    length = {"max_epochs": args.epochs} if args.sentences else {"max_steps": WARM_UP + args.steps}
    task, pairs, steps = fit(root, **length)
    batches = steps.batches[: WARM_UP + args.steps]
    if args.steps and len(batches) < WARM_UP + args.steps:
        options.error(f"{args.steps} steps after {WARM_UP} need more than the {len(batches)} batches of {args.root}")
    joey.check(task, batches[0])
    rows, facts = [], {}
    if args.steps:
        rows += training(task, pairs["train"], batches, root, args.repeats)
    if args.sentences:
        compared, facts = searching(task, pairs["test"], args.sentences, args.repeats)
        rows += compared
    threads = torch.get_num_threads()
    title = f"Multi30k, Transformer, {LAYERS} + {LAYERS} layers, float32, {threads} threads, {args.repeats} pairs"
    return compare("translation", title, rows, "JoeyNMT", args.json, steps=args.steps, epochs=args.epochs, **facts)


if __name__ == "__main__":
    main()
