"""Graphs as programs of torch.export, and the errors of exporters as sentences."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from modules.contracts import ConfigError
from modules.export import Graph

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
    with silent(), one_sentence(name):
        return torch.export.export(
            graph.module, tuple(graph.inputs.values()), dynamic_shapes=tuple(dynamic), strict=False
        )


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
def one_sentence(name: str) -> Iterator[None]:
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
