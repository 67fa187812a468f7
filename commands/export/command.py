"""`python cli.py export --ckpt_path RUN --format onnx|pt2`: a trained task as one file that runs elsewhere."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from callbacks.collectors.chosen import evenly
from callbacks.terminal import print_line
from commands.arguments import typed_options
from commands.checkpoints import run_of
from commands.export import onnx_file, torch_file
from commands.export.about import describe
from commands.export.agreement import TOLERANCES, refusals
from commands.export.batches import samples_of
from commands.export.gate import Gate, Predict, answers_of, features_of
from commands.export.quantization import quantize
from commands.export.report import Report
from commands.export.runtime import OnnxModel
from commands.extras import require
from commands.fit import CLI
from commands.next_commands import command_line
from commands.overview import program
from commands.own_options import OwnOptions
from commands.predictor import KINDS, Predictor, kind_of
from commands.trained import Trained
from datamodules.setting_roles import roles_of
from modules.contracts import ConfigError, DataError, from_here, writing
from modules.contracts.preprocessing import Preprocessing
from modules.export import Graph, ImageGraph, feature_graphs, preprocess_for
from modules.training.transfer import read_checkpoint

CALIBRATION = 128
"""Training samples by which int8 activations are calibrated, at most."""
FLOAT32 = ("--trainer.precision", "32", "--trainer.accelerator", "cpu")
REMEDIES = {"float16": "; leave --half out", "int8": "; leave --quantize out, or train longer before it"}
"""By precision, what to do about a file that is refused."""


class Options(OwnOptions):
    """The command's own options; the rest are settings of `test`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} export",
            f"{program()} export --ckpt_path RUN --format onnx|pt2 [--SETTING VALUE ...]",
            "Writes a trained task as one file with preprocessing, network and decoding. The file gets its name only "
            "after its predictions for the data's own images are those of PyTorch; export_report.json says how far.",
            f"Other options are settings of {program()} predict, such as --model.tta.flip true, which the file keeps.",
        )
        add = self.add_argument
        add("--ckpt_path", required=True, help="a .ckpt file or a run directory")
        add("--format", choices=("onnx", "pt2"), default="onnx", help="pt2 is that of torch.export")
        add("--out", type=Path, help="the file; default RUN/model.onnx, with the precision in its name")
        self.add_flag("--half", "compute the network in float16")
        add("--quantize", choices=("static",), help="int8, calibrated on training images")
        self.add_flag("--features", "give the features of the backbone in place of the answers")
        add("--images", type=Path, metavar="DIR", help="images of the gate; default those of the data, test first")
        add("--data_license", help="license of the training data, for the metadata")


class Export(CLI):
    """The command; its settings of data and model are those of `test`.

    Raises:
        ConfigError: the task, its network or its data cannot be exported, or a package is missing.
        DataError: the file answers differently from PyTorch, and is not written.
    """

    def __init__(self, argv: list[str]):
        self.options, rest = Options().parse_known_args(argv[1:])
        if self.options.half and self.options.quantize:
            raise ConfigError("--half and --quantize exclude each other: leave one of them out")
        if self.options.format == "pt2" and self.options.quantize:
            raise ConfigError("--quantize is for --format onnx, not for pt2: leave one of them out")
        out = self.options.out
        if out and (out.suffix not in ("", f".{self.options.format}") or out.is_dir()):
            raise ConfigError(f"--out is {out}, but names a file with the suffix .{self.options.format}")
        if self.options.format == "onnx":
            require("export", "onnx", "onnxscript", "onnxruntime")
        super().__init__(["test", "--ckpt_path", self.options.ckpt_path, *rest])

    def instantiate_classes(self) -> None:
        self.build_parts()

    def _run_subcommand(self, subcommand: str) -> None:
        torch.set_float32_matmul_precision("highest")
        content = read_checkpoint(self.file)
        self.model.on_load_checkpoint(content)
        self.model.load_state_dict(content["state_dict"])
        self.model.eval()
        self.datamodule.prepare_data()
        self.datamodule.setup("test")
        self.preprocessing = self.datamodule.preprocessing
        self.kind = kind_of(type(self.model))
        if self.preprocessing is None and self.kind in ("image", "video"):
            raise ConfigError(
                f"{type(self.datamodule).__name__} does not say how it prepares images for evaluation, which the file "
                f"would hold: give it a property `preprocessing` that returns "
                f'Preprocessing("center_crop" or "letterbox", (height, width)), as docs/export.md shows'
            )
        option = "--quantize" if self.options.quantize else "--half" if self.options.half else None
        if option and self.kind not in ("image", "video"):
            raise ConfigError(f"{option} is for tasks on images and videos, not on {self.kind}: leave it out")
        graphs = self._graphs()
        if self.kind == "image":
            self.datamodule.set_original_size()
        elif self.options.images:
            raise ConfigError(f"--images is for tasks on single images, not for {self.kind}: leave it out")
        gate = Gate(self.model, self.datamodule, self.kind, self.options.images, not self.options.features)
        out = (self.options.out or run_of(self.file) / self._name()).expanduser()
        with writing(out, "--out"):
            out.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=out.parent, prefix=".export_")
        with folder as aside:
            paths = self._write(graphs, Path(aside) / out.name)
            report = self._compare(gate, paths)
            report.print()
            report.write(out.with_name("export_report.json"), out.name, Path(aside))
            if report.refused:
                remedy = REMEDIES.get(self.precision, "")
                said = f"{'; '.join(report.refused)}{remedy}"
                raise DataError(f"{from_here(out)} is not written, because it answers otherwise: {said}")
            with writing(out, "--out"):
                for path in reversed(paths):
                    path.replace(out.with_name(path.name))
        names = " and ".join([str(from_here(out)), *(path.name for path in paths[1:])])
        print_line(f"written: {names}, of {self.file.name}")
        if self.options.format == "onnx":
            root = [] if self.kind == "noise" else ["--data.root", "FILE" if self.kind == "text" else "FOLDER"]
            line = command_line("predict", "--onnx", str(from_here(out)), "--data", KINDS[self.kind].__name__, *root)
            print_line(f"next: {line}")

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.known.path

    @property
    def known(self) -> Trained:
        """Facts about the training."""
        assert self.trained is not None  # --ckpt_path is required
        return self.trained

    @property
    def precision(self) -> str:
        """Type in which the network of the file computes."""
        return "int8" if self.options.quantize else "float16" if self.options.half else "float32"

    def _name(self) -> str:
        end = {"float32": "", "float16": "_half", "int8": "_int8"}[self.precision]
        return f"{'features' if self.options.features else 'model'}{end}.{self.options.format}"

    def _graphs(self) -> dict[str, Graph]:
        preprocess = preprocess_for(self.preprocessing or Preprocessing("center_crop", None))
        if not self.options.features:
            return self.model.graphs(preprocess)
        if self.model.backbone is None or "video" in self.model.required_keys:
            raise ConfigError(f"--features is for backbones of images, but {type(self.model).__name__} has none")
        return feature_graphs(preprocess, self.model.exported, self.model.pools)

    def _write(self, graphs: dict[str, Graph], path: Path) -> list[Path]:
        """Write the graphs, the first of them as `path`, others beside it; returns their paths."""
        name = self.model.backbone.name if self.model.backbone else type(self.model).__name__
        first, *others = graphs
        paths = [path, *(path.with_name(f"{path.stem}.{part}{path.suffix}") for part in others)]
        together = uuid.uuid4().hex
        about = describe(self.known, self.model, self.datamodule, self.preprocessing, graphs[first]) | {
            "parts": dict(zip(others, [part.name for part in paths[1:]], strict=True)),
            "export": together,
            "precision": self.precision,
            "opset": onnx_file.OPSET if self.options.format == "onnx" else None,
            "data_license": self.options.data_license,
        }
        write = torch_file.write_torch if self.options.format == "pt2" else onnx_file.write_onnx
        for place, graph in zip(paths, graphs.values(), strict=True):
            if self.options.half and isinstance(graph.module, ImageGraph):
                graph.module.set_half()
            part = {"outputs": list(graph.outputs), "export": together}
            write(graph, place, about if place is path else part, name)
        if self.options.quantize:
            quantize(path, self._calibration(), about)
        beside = (each.with_name(f"{each.name}.data") for each in paths)  # weights of files above 1.5 GB
        return [*paths, *(each for each in beside if each.is_file())]

    def _calibration(self) -> Iterator[dict[str, np.ndarray]]:
        if not self.datamodule.has("train"):
            raise ConfigError("--quantize is calibrated on training images, but the data has none: leave it out")
        source = self.datamodule.dataset("train", "evaluate")
        for row in evenly(len(source), CALIBRATION):
            (sample,) = samples_of(self.datamodule.collate([source[(0, int(row))]]))
            yield {self.kind: sample[None] if self.kind == "image" else sample}

    def _compare(self, gate: Gate, paths: list[Path]) -> Report:
        """Compare the file, the first of `paths`, with the network in PyTorch as `predict` runs it."""
        path, size = paths[0], sum(one.stat().st_size for one in paths)
        is_torch, threads = self.options.format == "pt2", torch.get_num_threads()
        theirs = torch_file.TorchModel(path) if is_torch else OnnxModel(path, threads)
        predictor = Predictor.load(self.file, *self._inference(), *FLOAT32, named=tuple(self.typed))
        ours: Predict = features_of(predictor) if self.options.features else answers_of(predictor, self.kind)
        tolerance, weights = TOLERANCES[self.precision], sum(one.nbytes for one in self.model.state_dict().values())
        names = "PyTorch", self.options.format
        compared, sides, count = gate.compare(ours, theirs, names, path.parent, tolerance.iou)
        refused = refusals(compared, tolerance)
        return Report(count, self.datamodule.noun, compared, sides, (weights, size), refused, self.precision, tolerance)

    def _inference(self) -> list[str]:
        """Typed settings of model and input, which are part of the file."""
        roles = roles_of(KINDS[self.kind])
        found = typed_options(self.typed, "--model")
        for option, words in typed_options(self.typed, "--data").items():
            if roles.get(option.removeprefix("--data.").removeprefix("init_args.")) == "input":
                found[option] = words
        return [word for words in found.values() for word in words]
