"""ONNX files of graphs: export by torch.onnx, metadata, and static quantization by onnxruntime."""

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from commands.export.extra import need
from commands.export.metadata import KEY
from modules.contracts import ConfigError, writing
from modules.export import Graph, ImageGraph

OPSET = 20
"""Version of ONNX's operators in every file; onnxruntime 1.17 and later run it."""
LOGGERS = ("torch.onnx", "torch.export", "torch._export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir", "root")


def traced(graph: Graph, name: str) -> torch.export.ExportedProgram:
    """The graph as an exported program of torch.

    Args:
        graph: with examples of its inputs.
        name: of the network, for messages.

    Raises:
        ConfigError: an operation cannot be exported; names it.
    """
    dynamic: list[Any] = [dict.fromkeys(graph.dynamic.get(key, {}), torch.export.Dim.DYNAMIC) for key in graph.inputs]
    if graph.varied:
        dynamic[1:] = [tuple(dynamic[1:])]
    with silent(), _one_sentence(name):
        return torch.export.export(
            graph.module, tuple(graph.inputs.values()), dynamic_shapes=tuple(dynamic), strict=False
        )


def write_onnx(graph: Graph, path: Path, metadata: dict[str, Any], name: str) -> None:
    """Write a graph as an ONNX file; arguments as `traced`.

    Raises:
        ConfigError: an operation cannot be exported, or a package is missing.
        DataError: the file cannot be written.
    """
    need("onnx")
    need("onnxscript")
    program = traced(graph, name)
    renamed: list[Any] = [graph.dynamic.get(key, {}) for key in graph.inputs]
    if graph.varied:
        renamed[1:] = [tuple(renamed[1:])]
    with silent(), _one_sentence(name):
        made: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(renamed),
            custom_translation_table={torch.ops.graft.suppress.default: _suppress},
            verbose=False,
        )
    for node in made.model.graph.all_nodes():
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)  # folders of this machine
    made.model.metadata_props[KEY] = json.dumps(metadata)
    with writing(path):
        made.save(str(path))


def _suppress(boxes: Any, scores: Any, threshold: float) -> Any:
    """`modules.export.nms.suppress` in operators of ONNX."""
    op = need("onnxscript").opset20
    most, least = op.Constant(value_int=2**31 - 1), op.Constant(value_float=0.0)
    iou = op.Constant(value_float=threshold)
    kept = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), most, iou, least)
    kept = op.Gather(kept, [0, 2], axis=1)
    yes = op.Expand(op.Constant(value_ints=[1]), op.Slice(op.Shape(kept), [0], [1]))
    none = op.Expand(op.Constant(value_ints=[0]), op.Shape(scores))
    return op.Cast(op.ScatterND(none, kept, yes), to=9)  # bool


def quantize(path: Path, images: Iterable[dict[str, np.ndarray]], metadata: dict[str, Any]) -> None:
    """Quantize the network of an ONNX file to int8 in place, its activations calibrated on samples.

    Convolutions and matrix products of the network alone; preprocessing and decoding stay as they are.

    Args:
        path: of the file.
        images: inputs by name.
        metadata: of the result.
    """
    onnx, tools = need("onnx"), need("onnxruntime.quantization")
    model = onnx.load(str(path))
    outside = [node.name for node in model.graph.node if not _of_network(node)]
    feed = iter(images)

    class Reader(tools.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feed, None)

    with silent():
        tools.quantize_static(
            str(path),
            str(path),
            Reader(),
            per_channel=True,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_exclude=outside,
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata)})
    with writing(path):
        onnx.save(model, str(path))
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # the weights of before


def _of_network(node: Any) -> bool:
    """True for a node of the network of an `ImageGraph`, by the scopes that the exporter notes."""
    scopes = next((prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"), "")
    return "'network" in scopes


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Silence loggers, warnings and prints of exporters, which speak to their developers."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(None if name == "root" else name).setLevel(logging.CRITICAL)
        lost = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(lost), contextlib.redirect_stderr(lost):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(None if name == "root" else name).setLevel(level)


@contextlib.contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Turn the errors of exporters into a sentence that names the network and the operation."""
    try:
        yield
    except (ConfigError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ConfigError(f"{name} cannot be exported: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The operation that an exporter could not take, else the first line of its innermost error."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    for each in chain:
        if found := re.search(r"\b(aten|prims|torchvision|onnx)(::|\.)\w+", str(each)):
            return f"its operation {found[0].replace('.', '::', 1)} has no counterpart there"
    said = " ".join(str(chain[-1]).strip().splitlines()[:1]) or type(chain[-1]).__name__
    return f"{said[:200].rstrip('.')} ({type(chain[-1]).__name__})"


def half(graph: Graph, name: str) -> None:
    """Make the network of an `ImageGraph` compute in float16; its inputs and outputs stay float32.

    Raises:
        ConfigError: the graph is of another kind.
    """
    if not isinstance(graph.module, ImageGraph):
        raise ConfigError(f"--half is for tasks on images and videos, but {name} is another: leave it out")
    graph.module.set_half()
