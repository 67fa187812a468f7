"""Gradio's page in the server of `serve`: no link beyond this machine, no telemetry, nothing from the network."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import gradio as gr  # pyrefly: ignore[missing-import]
from fastapi import FastAPI

from commands.demo.examples import examples
from commands.demo.page import FONTS, build_page, first_answer
from commands.predictor import Predictor
from commands.serve.server import Server, build_server
from modules.contracts import from_here


def build_demo(
    predictor: Predictor, folder: Path, address: str, names: Collection[str], max_bytes: int, typed: Sequence[str]
) -> Server:
    """A server of the page of a run.

    Args:
        predictor: of the run.
        folder: for files of examples and uploads, deleted at the end.
        address: of the page, for its line.
        names: hosts that requests may be to; of none any.
        max_bytes: of an upload.
        typed: settings of `predict`.
    """
    samples = examples(predictor, folder, *typed)
    page = build_page(predictor, first_answer(predictor, samples), samples)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None),
        page,
        "/",
        footer_links=[],
        allowed_paths=[path for path in samples if predictor.kind != "text"],
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(**FONTS),
    )
    page.has_launched = page.is_running = True  # else Gradio would take any file of this machine for an upload
    line = f"demo of {predictor.name} of {from_here(predictor.checkpoint)} at {address}"
    mounted: Any = app.routes[-1]

    def ending() -> None:
        page.is_running = False
        mounted.app.stop_event.set()  # ends the answers that open pages listen to

    return build_server(app, 30.0, line, names, ending)
