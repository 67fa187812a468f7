"""Static quantization of ONNX files by onnxruntime."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from commands.export.metadata import KEY
from commands.export.tracing import silent
from modules.contracts import writing


def quantize(path: Path, images: Iterable[dict[str, np.ndarray]], metadata: dict[str, Any]) -> None:
    """Quantize the network of an ONNX file to int8 in place, its activations calibrated on samples.

    Convolutions and matrix products of the network alone; preprocessing and decoding stay as they are.

    Args:
        path: of the file.
        images: inputs by name.
        metadata: of the result.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization

    network = {node.name for node in onnx.load(str(path)).graph.node if _of_network(node)}
    if not path.with_name(f"{path.name}.data").is_file():  # a network of less than 1.5 GB
        options = onnxruntime.SessionOptions()  # computes weights that follow from others, and joins batch norms
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    outside = [node.name for node in onnx.load(str(path)).graph.node if node.name not in network]
    feed = iter(images)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(feed, None)

    with silent(), writing(path, "--out"):
        quantization.quantize_static(
            str(path),
            str(path),
            Reader(),
            per_channel=True,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_exclude=outside,
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata)})
    with writing(path, "--out"):
        onnx.save(model, str(path))
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # the weights of before


def _of_network(node: Any) -> bool:
    """True for a node of the network of an `ImageGraph`, by the scopes that the exporter notes."""
    scopes = next((prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"), "")
    return "'network" in scopes
