"""`python cli.py demo --ckpt_path RUN`: a page on which a run is tried."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from commands.extras import require
from commands.overview import program
from commands.own_options import OwnOptions
from commands.predictor import Predictor
from commands.serve.command import MAX_BYTES, MAX_PIXELS, listening, own_names, url
from modules.contracts import ConfigError, check_range

OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
"""Variables that keep Gradio from telling its makers of the page, and from asking for newer versions."""


class Options(OwnOptions):
    """The command's own options; the rest are settings of `predict`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} demo",
            f"{program()} demo --ckpt_path RUN [--port 7860] [--SETTING VALUE ...]",
            "Opens a page on which a run is tried: drop an image and see labels, boxes, masks or a caption, type a "
            "sentence, move through the noise of a generator. Ends by Ctrl-C.",
            f"Other options are settings of {program()} predict, such as --model.tta.flip true.",
        )
        self.add_argument("--ckpt_path", help="a .ckpt file or a run directory")
        self.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 is every one of this machine")
        self.add_argument("--port", type=int, default=7860, help="0 takes a free one; default 7860")


def demo(argv: list[str]) -> None:
    """Run the `demo` command with the arguments after its name, until a signal ends it.

    Raises:
        ConfigError: a setting, a package that is missing, or an address that is in use.
        DataError: no checkpoint.
    """
    own, typed = Options().parse_known_args(argv)
    check_range("--port", own.port, 0, 65535)
    if not own.ckpt_path:
        raise ConfigError("demo needs weights: add --ckpt_path with a .ckpt file or a run directory")
    require("demo", "gradio")
    with listening(own.host, own.port) as sock, TemporaryDirectory() as folder:
        predictor = Predictor.load(own.ckpt_path, *typed)
        predictor.limit_pixels(MAX_PIXELS)
        os.environ.update(OFFLINE | {"GRADIO_TEMP_DIR": folder})
        from commands.demo.server import build_demo

        server = build_demo(
            predictor, Path(folder), url(sock), own_names(own.host, sock), MAX_BYTES[predictor.kind], typed
        )
        server.run(sockets=[sock])
