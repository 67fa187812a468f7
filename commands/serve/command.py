"""`python cli.py serve --ckpt_path RUN`: the predictions of a run over HTTP."""

import argparse
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Any

from commands.extras import require
from commands.overview import program
from commands.own_options import OwnOptions
from commands.predictor import Predictor
from modules.contracts import ConfigError, check_range, from_here

MAX_BYTES = {"image": 20_000_000, "video": 200_000_000, "text": 64_000, "noise": 64_000}
"""Bytes of a request by kind of sample, where --max_bytes is not typed."""
MAX_PIXELS = 50_000_000
DAY = 86_400.0  # seconds


class Options(OwnOptions):
    """The command's own options; the rest are settings of `predict`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} serve",
            f"{program()} serve --ckpt_path RUN [--port 8000] [--SETTING VALUE ...]",
            "Answers requests for predictions over HTTP: POST /predict, GET /health, /metrics, /openapi.json and a "
            "page that describes them. Ends by Ctrl-C or SIGTERM, after the requests that are under way.",
            f"Other options are settings of {program()} predict, such as --model.tta.flip true.",
        )
        self.add_argument("--ckpt_path", help="a .ckpt file or a run directory")
        self.add_argument("--onnx", metavar="FILE", help="a file that `export` wrote, in place of a checkpoint")
        self.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 is every one of this machine")
        self.add_argument("--port", type=int, default=8000, help="0 takes a free one; default 8000")
        text = "that requests must bear, Authorization: Bearer TOKEN; default that of the variable GRAFT_TOKEN, or none"
        self.add_argument("--token", default=os.environ.get("GRAFT_TOKEN"), help=text)
        self.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that decode")
        self.add_argument("--max_bytes", type=int, help="of a request; default 20 MB, of videos 200 MB, of text 64 KB")
        text = "of an image or frame; larger ones are not decoded"
        self.add_argument("--max_pixels", type=int, default=MAX_PIXELS, help=text)
        self.add_argument("--max_requests", type=int, default=256, help="under way at most; more are answered by 503")
        self.add_argument("--timeout", type=float, default=30.0, help="seconds in which a request must be complete")
        self.add_argument("--batch_size", type=int, help="samples that are predicted together; default the run's")
        text = "seconds that a sample waits for others; default 0.005"
        self.add_argument("--batch_timeout", type=float, default=0.005, help=text)


def serve(argv: list[str]) -> None:
    """Run the `serve` command with the arguments after its name, until a signal ends it.

    Raises:
        ConfigError: a setting, a package that is missing, or an address that is in use.
        DataError: no checkpoint.
    """
    own, typed = Options().parse_known_args(argv)
    check_options(own)
    if (own.ckpt_path is None) == (own.onnx is None):
        raise ConfigError("serve needs weights: add --ckpt_path with a .ckpt file or a run directory, or --onnx FILE")
    if own.onnx and typed:
        raise ConfigError(f"{typed[0]} is a setting of a run, but --onnx is a file in which all is set: leave it out")
    require("serve", "fastapi", "uvicorn")
    with listening(own.host, own.port) as sock:
        predictor = _exported(own.onnx) if own.onnx else Predictor.load(own.ckpt_path, *typed)
        run(own, predictor, sock)


def _exported(path: str) -> Any:
    from commands.serve.exported import ExportedPredictor

    return ExportedPredictor(Path(path).expanduser())


def run(own: argparse.Namespace, predictor: Any, sock: socket.socket) -> None:
    """Serve a `Predictor`, or an exported one, on a socket."""
    from commands.serve.app import Limits, Service, build_app
    from commands.serve.server import build_server

    predictor.limit_pixels(own.max_pixels)
    limits = Limits(
        own.max_bytes or MAX_BYTES[predictor.kind],
        own.timeout,
        own.max_requests,
        own.batch_size or predictor.data.batch_size,
        own.batch_timeout,
        own.workers,
    )
    service = Service(predictor, limits, own.token)
    names = set() if own.token else own_names(own.host, sock)  # a page of another site knows no token
    build_server(build_app(service), own.timeout, f"{said(predictor)} at {url(sock)}", names).run(sockets=[sock])


def check_options(own: argparse.Namespace) -> None:
    """Check the numbers among the options.

    Raises:
        ConfigError: one is out of its range.
    """
    ranges = {"port": (0, 65535), "timeout": (0.001, DAY), "batch_timeout": (0, DAY)}
    counts = ("workers", "max_pixels", "max_requests", "max_bytes", "batch_size")
    for name, span in (ranges | dict.fromkeys(counts, (1, float("inf")))).items():
        if (value := getattr(own, name)) is not None:
            check_range(f"--{name}", value, *span)
    if own.token is not None and not re.fullmatch("[!-~]+", own.token):
        raise ConfigError(
            "--token is empty, or holds spaces or other characters than ASCII: choose another, or leave it out"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket of that address, taken before the network is loaded.

    Raises:
        ConfigError: it is in use, or none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family)
    except (OSError, UnicodeError) as error:  # the latter of a name that is none, such as ".."
        raise ConfigError(f"--host {host} is no address ({getattr(error, 'strerror', error)})") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a server that has just ended
        sock.bind(address)
        sock.listen(2048)
    except OSError as error:
        sock.close()
        remedy = "choose another --port, or 0 for a free one"
        raise ConfigError(f"--port {port} on --host {host} cannot be had ({error.strerror}): {remedy}") from error
    return sock


def own_names(host: str, sock: socket.socket) -> set[str]:
    """Names and addresses by which a socket of this machine alone is called; none of one that others reach.

    Args:
        host: as typed.
        sock: of that address.
    """
    address = sock.getsockname()[0].partition("%")[0]
    return {"localhost", address, host.lower()} if ipaddress.ip_address(address).is_loopback else set()


def url(sock: socket.socket) -> str:
    """Address of a socket as a browser takes it."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def said(predictor: Any) -> str:
    """The predictor in words."""
    return f"serving {predictor.name} of {from_here(predictor.checkpoint)}"
