"""ONNX files of graphs, by torch.onnx, with their metadata."""

import json
from pathlib import Path
from typing import Any

import torch

from commands.export.metadata import KEY
from commands.export.tracing import one_sentence, silent, traced
from modules.contracts import writing
from modules.export import Graph
from modules.export.decompositions import DECOMPOSITIONS

OPSET = 20
"""Version of ONNX's operators in every file; onnxruntime 1.17 and later run it."""


def write_onnx(graph: Graph, path: Path, metadata: dict[str, Any], name: str) -> None:
    """Write a graph as an ONNX file; arguments as `traced`.

    Raises:
        ConfigError: an operation cannot be exported.
        DataError: the file cannot be written.
    """
    program = traced(graph, name)
    renamed: list[Any] = [graph.dynamic.get(key, {}) for key in graph.inputs]
    if graph.varied:
        renamed[1:] = [tuple(renamed[1:])]
    with silent(), one_sentence(name):
        program = program.run_decompositions(DECOMPOSITIONS)
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
    with writing(path, "--out"):
        made.save(str(path))


def _suppress(boxes: Any, scores: Any, threshold: float) -> Any:
    """`modules.export.nms.suppress` in operators of ONNX."""
    import onnxscript

    op: Any = onnxscript.opset20
    most, least = op.Constant(value_int=2**31 - 1), op.Constant(value_float=0.0)
    iou = op.Constant(value_float=threshold)
    kept = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), most, iou, least)
    kept = op.Gather(kept, [0, 2], axis=1)
    yes = op.Expand(op.Constant(value_ints=[1]), op.Slice(op.Shape(kept), [0], [1]))
    none = op.Expand(op.Constant(value_ints=[0]), op.Shape(scores))
    return op.Cast(op.ScatterND(none, kept, yes), to=9)  # bool
