"""`python cli.py inspect --ckpt_path RUN | --config YAML`: costs, signals and curvature of a network by layer."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callbacks.figures.log import write_figure
from callbacks.run_directory import RunDirectory, claimed, new_path
from callbacks.terminal import print_line
from commands.inspect import drawing, report
from commands.inspect.parts import Parts, samples_of
from commands.next_commands import command_line, typed_settings
from commands.overview import program
from commands.own_options import OwnOptions
from modules.contracts import ConfigError, check_range, writing
from modules.insight.hessian import Curvature, curvature, twice_differentiable
from modules.insight.watch import Layer, Watch

COLUMNS = (
    "name kind shape calls parameters trained memory macs mean std gradient weight_norm weight_gradient relus dead"
)
TRAINED = "after training"


class Options(OwnOptions):
    """The command's own options; the rest are settings of `fit`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} inspect",
            f"{program()} inspect --ckpt_path RUN | --config tasks/NAME.yaml [--SETTING VALUE ...]",
            "Looks into a network layer by layer, in one training step on a real batch: where parameters, memory and "
            "time go; whether gradients vanish or explode, at initialization and after training; dead ReLUs and "
            "depthwise kernels; the curvature of the loss. Writes tables, figures and inspect.json.",
            f"Other options are settings of {program()} fit, such as --data.batch_size 16.",
        )
        self.add_argument(
            "--ckpt_path", help="a .ckpt file or a run directory; null looks at the initial weights alone"
        )
        text = "iterations for the eigenvalues of the Hessian, one more copy of all parameters each; 0 leaves it out"
        self.add_argument("--lanczos_steps", type=int, default=20, help=f"{text}; default 20")
        self.add_argument("--run_dir", help="output folder; default runs/NAME/TIME_inspect")


def inspect(argv: list[str]) -> None:
    """Run the `inspect` command with the arguments after its name.

    Raises:
        ConfigError: a setting, or neither a checkpoint nor a configuration.
        DataError: no checkpoint, or no training data.
    """
    own, typed = Options().parse_known_args(argv)
    check_range("--lanczos_steps", own.lanczos_steps, 0, 1000)
    if not own.ckpt_path and not {"--config", "-c", "--model"} & {word.partition("=")[0] for word in typed}:
        raise ConfigError("inspect needs a network: add --ckpt_path RUN, or --config tasks/NAME.yaml for a new one")
    parts = Parts(own.ckpt_path, typed)
    folder, fresh = (Path(own.run_dir), False) if own.run_dir else (new_path(parts.name, "_inspect"), True)
    with claimed(RunDirectory(folder, lambda: None, fresh=fresh)) as path:
        for line in look(parts, path, own.lanczos_steps):
            print_line(line)
        again = [own.ckpt_path, *typed_settings(typed)] if own.ckpt_path else ["RUN"]
        print_line(f"next, the features of a trained run: {command_line('features', '--ckpt_path', *again)}")


def look(parts: Parts, folder: Path, steps: int) -> Iterator[str]:
    """Measure, write all files, and give the lines of the report, as they are known."""
    states, bends, missing = {}, {}, ""
    title = f"{type(parts.task).__name__} with {' and '.join(parts.task.named_networks)}"
    for state in (parts.start, *([TRAINED] if parts.checkpoint else [])):
        if state == TRAINED:
            parts.load()
        layers, losses, samples = measure(parts)
        states[state] = layers
        if state == parts.start:
            yield f"{title}: a training step of {samples} {parts.data.noun}, in float32"
            yield from report.table(layers, samples)
            yield "output: of one sample; MB: kept for the backward pass of the batch; MMACs: millions, of a sample"
        yield f"{state}: " + ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        yield from report.signals(layers, state)
        yield from report.kernels(parts.task, state)
        if steps and not missing:
            try:
                bends |= {f"{state}, {name}": one for name, one in bend(parts, steps).items()}
            except (RuntimeError, NotImplementedError) as error:
                missing = f"no curvature: {' '.join(str(error).split())[:120]}"
                yield missing
        yield from (f"{name}: {one.verdict}" for name, one in bends.items() if name.startswith(state))
    figures = {
        "costs": drawing.costs(
            report.blocks(states[parts.start]), samples, f"{title}: where parameters, memory and MACs go"
        ),
        "signals": drawing.signals(
            states, f"{title}: activations and gradients, a batch of {samples} {parts.data.noun}"
        ),
    }
    if bends:
        figures["hessian"] = drawing.spectra(bends, f"{title}: eigenvalues of the Hessian, {steps} Lanczos iterations")
    write(folder, figures, states, bends, samples, missing)
    yield f"written: {folder}/inspect.json, layers.csv, figures/ ({', '.join(f'{name}.png' for name in figures)})"


def measure(parts: Parts) -> tuple[list[Layer], dict[str, float], int]:
    """Layers of one training step with their gradients, its losses, and the number of samples."""
    batch = parts.batch()
    torch.manual_seed(parts.seed or 0)
    with Watch(parts.task) as watch:
        losses = parts.task.training_losses(batch)
    total: Any = sum(losses.values())
    total.backward()
    watch.measure_gradients()
    parts.task.zero_grad()
    return list(watch.layers.values()), {name: loss.item() for name, loss in losses.items()}, samples_of(batch)


def bend(parts: Parts, steps: int) -> dict[str, Curvature]:
    """Curvature of every training loss, of the trained parameters."""
    batch = parts.batch()
    torch.manual_seed(parts.seed or 0)
    with twice_differentiable():
        losses = parts.task.training_losses(batch)
    trained = [parameter for parameter in parts.task.parameters() if parameter.requires_grad]
    return {name: curvature(loss, trained, steps) for name, loss in losses.items()}


def write(
    folder: Path,
    figures: dict[str, np.ndarray],
    states: dict[str, list[Layer]],
    bends: dict[str, Curvature],
    samples: int,
    missing: str,
) -> None:
    """Write figures, `layers.csv` with a row per layer and state, and `inspect.json`."""
    columns = COLUMNS.split()
    for name, figure in figures.items():
        write_figure(figure, folder / "figures" / f"{name}.png")
    with writing(folder):
        with (folder / "layers.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["state", *columns])
            for state, layers in states.items():
                rows.writerows([state, *(_cell(getattr(one, column)) for column in columns)] for one in layers)
        found = {
            "samples": samples,
            "costs": report.summed("all", next(iter(states.values())))._asdict(),
            "findings": {state: report.signals(layers, state) for state, layers in states.items()},
            "curvature": {name: _curved(one) for name, one in bends.items()} or missing,
            "layers": {
                state: [{column: getattr(one, column) for column in columns} for one in layers]
                for state, layers in states.items()
            },
        }
        (folder / "inspect.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def _curved(one: Curvature) -> dict[str, Any]:
    lists = {name: getattr(one, name).tolist() for name in ("eigenvalues", "errors", "weights")}
    rest = {"gradient": one.gradient, "parameters": one.size, "trace": one.trace, "sharpness": one.largest}
    return {"verdict": one.verdict, **rest, "negative": one.negative, **lists}


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "x".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value
