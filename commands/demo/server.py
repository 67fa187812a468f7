"""Gradio's page in the server of `serve`: no link beyond this machine, no telemetry, nothing from the network."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr  # pyrefly: ignore[missing-import]
from fastapi import FastAPI

from commands.demo.examples import examples
from commands.demo.page import FONTS, build_page, first_answer
from commands.predictor import Predictor
from commands.serve.server import Server, build_server
from modules.contracts import from_here


def build_demo(predictor: Predictor, folder: Path, address: str, max_bytes: int, typed: Sequence[str]) -> Server:
    """A server of the page of a run.

    Args:
        predictor: of the run.
        folder: for files of examples and uploads, deleted at the end.
        address: of the page, for its line.
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
    return build_server(app, 30.0, f"demo of {predictor.name} of {from_here(predictor.checkpoint)} at {address}")
