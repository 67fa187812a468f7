"""Files of torch.export (.pt2): graphs as PyTorch runs them without their code."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from commands.export.metadata import KEY
from commands.export.runtime import ImageModel
from commands.export.tracing import silent, traced
from modules.contracts import writing
from modules.export import Graph
from modules.export.nms import suppress_by_torchvision


def write_torch(graph: Graph, path: Path, metadata: dict[str, Any], name: str) -> None:
    """Write a graph as a file of torch.export; arguments as `write_onnx`.

    Raises:
        ConfigError: an operation cannot be exported.
        DataError: the file cannot be written.
    """
    own = {torch.ops.graft.suppress.default: suppress_by_torchvision}
    program = traced(graph, name)
    if any(node.target in own for node in program.graph.nodes):
        with silent():
            program = program.run_decompositions(own)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # folders of this machine
    content = io.BytesIO()  # torch's writer ends the process where a file cannot be written on
    with silent():
        torch.export.save(program, content, extra_files={KEY: json.dumps(metadata)})
    with writing(path, "--out"):
        path.write_bytes(content.getbuffer())


class TorchModel(ImageModel):
    """Predictions of a file of torch.export, as `OnnxModel` gives them."""

    def __init__(self, path: Path):
        self.program, text = _loaded(path)
        self.parts: dict[str, Any] = {}
        super().__init__(path, text)

    def outputs(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        with torch.inference_mode():
            return [out.numpy() for out in self.program(*map(torch.from_numpy, inputs.values()))]

    def part(self, name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
        if name not in self.parts:
            beside = self.path.with_name(self.metadata["parts"][name])
            self.parts[name] = _loaded(beside)
            self.check_part(beside, self.parts[name][1])
        program, text = self.parts[name]
        outputs = json.loads(text)["outputs"]

        def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            with torch.inference_mode():
                made = program(*(torch.from_numpy(value) for value in inputs.values()))
            return {name: value.numpy() for name, value in zip(outputs, made, strict=True)}

        return run


def _loaded(path: Path) -> tuple[Any, str]:
    """Program and metadata of a file."""
    extra = {KEY: ""}
    with silent(), path.open("rb") as file:
        return torch.export.load(file, extra_files=extra).module(), extra[KEY]
