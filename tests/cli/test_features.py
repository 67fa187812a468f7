"""`features` from the command line: figures and JSON of a run, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import following
from tests.helpers.errors import line_naming

WORKERS = ["--data.workers", "0"]
QUICK = [*WORKERS, *"--num_images 12 --num_patches 2 --steps 8".split()]
FIGURES = {"channels.png", "classes.png", "direction.png", "inversion.png", "depth.png"}


@pytest.mark.usefixtures("drawn_figures")
def test_a_classifier_shows_channels_classes_levels_and_a_direction(graft, trained, capsys, narrow_terminal):
    np.save("direction.npy", np.ones(48))
    typed = ["--layer", "layer2", "--channels", "3,7", "--classes", "star,0", "--direction", "direction.npy"]
    assert graft("features", "--ckpt_path", str(trained), *QUICK, *typed, "--run_dir", "out") == (0, "")
    said = capsys.readouterr().out.splitlines()
    line_naming(said, "ascent on star", "probability")
    line_naming(said, "inversion", "error")
    assert max(map(len, said)) <= narrow_terminal
    assert following("\n".join(said))["why it answers so"][2:] == ["explain", "--ckpt_path", str(trained), *WORKERS]
    assert {path.name for path in Path("out/figures").iterdir()} == FIGURES
    found = json.loads(Path("out/features.json").read_text())
    assert (
        found["split"] == "test"
        and list(found["channels"]) == ["3", "7"]
        and set(found["classes"]) == {"star", "circle"}
    )
    assert len(found["levels"]) == len(found["inversion"]) == 5
    fields = [level["field"] for level in found["levels"]]
    assert fields == sorted(fields) and found["levels"][0]["probe"] is not None
    for patch in found["channels"]["3"]:
        left, top, right, bottom = patch["box"]
        assert 0 <= left < right <= 32 and 0 <= top < bottom <= 32
    assert Image.open("out/figures/depth.png").size == (1050, 360)


def test_what_does_not_exist_is_refused_with_the_nearest_name(refused, trained):
    run = ["features", "--ckpt_path", str(trained), *QUICK]
    np.save("short.npy", np.ones(3))
    before = [
        (2, ["--layer", "layer22"], ["layer22", "layer2"]),
        (2, ["--layer", "9"], ["--layer", "9", "5 levels"]),
        (2, ["--classes", "stars"], ["--classes", "star"]),
        (2, ["--channels", "1,500"], ["--channels", "500", "96"]),
        (2, ["--direction", "short.npy"], ["--direction", "3", "96"]),
        (1, ["--direction", "none.npy"], ["--direction", "none.npy"]),
        (2, ["--generator", str(trained)], ["--generator", "Classification"]),
        (2, ["--steps", "0"], ["--steps", "0"]),
        (2, ["--trainer.precision", "bf16-mixed"], ["--trainer.precision", "bf16-mixed", "float32"]),
        (2, ["--data.image_size", "8"], ["8 pixels", "stride 32", "--data.image_size"]),
    ]
    for code, typed, names in before:
        refused(code, [*run, *typed], *names)
    refused(2, ["features"], "--ckpt_path")
