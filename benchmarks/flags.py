"""Speed-up by single flags: images per second of `cli.py fit` with each against the YAML as shipped (channels_last).

Batches lie in memory, so that only training counts. Rows: float32 in place of the precision that `auto` chooses, which
changes nothing where that is float32, torch.compile, and two batches per optimizer step. channels_last is not a flag:
it is always on.
"""

from typing import Any

import torch

from benchmarks.overhead import WARM_UP, ours
from benchmarks.precision import automatic
from benchmarks.report import Comparison, compare, in_pairs, parser

FLAGS = {
    "--trainer.precision 32": {"--trainer.precision": "32"},
    "--model.compile true": {"--model.compile": "true"},
    "--trainer.accumulate_grad_batches 2": {"--trainer.accumulate_grad_batches": "2"},
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--task", default="simclr", help="name of a YAML in tasks/ whose method compares two views")
    options.add_argument("--image_size", type=int, default=64)
    options.add_argument("--batch_size", type=int, default=128)
    options.add_argument("--steps", type=int, default=30, help="batches that count")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    options.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    args = options.parse_args(argv)
    data = {"image_size": args.image_size, "views": 2, "batch_size": args.batch_size, "steps": WARM_UP + args.steps}

    def rate(extra: dict[str, str]) -> float:
        return args.steps * args.batch_size / ours(args.task, data, args.accelerator, extra).wall

    rows = []
    for flag, extra in FLAGS.items():
        with_flag, without = in_pairs(lambda extra=extra: rate(extra), lambda: rate({}), args.repeats)
        rows.append(Comparison(flag, "images/s", with_flag, without))
    precision = automatic(args.accelerator)
    where = f"{torch.get_num_threads()} threads, {precision} on {args.accelerator}"
    title = f"{args.task}, {args.image_size} px, batch {args.batch_size}, {where}"
    facts = {"steps": args.steps, "accelerator": args.accelerator, "precision": precision}
    return compare("flags", title, rows, "as shipped", args.json, **facts)


if __name__ == "__main__":
    main()
