"""Names that YAML would take for numbers or truth values come back as they were, from a run's own files too."""

import numpy as np
import pytest
import yaml
from PIL import Image

from modules.training.transfer import read_checkpoint

SMALL = (
    "--data.batch_size 4 --data.image_size 32 --data.workers 0 --data.val_split 0.25 --model.backbone resnet18 "
    "--trainer.max_epochs 1 --trainer.precision 32 --trainer.accelerator cpu --trainer.enable_progress_bar false "
    "--figures.samples 1"
).split()


def test_a_run_with_a_class_called_1e3_can_be_validated_and_repeated(graft, tmp_path):
    names = ["1e3", "no"]
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(np.full((20, 20, 3), 30 * i, np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    settings = ("--config", "tasks/classification.yaml", *SMALL, "--data", "ImageFolder", "--data.root", "data")
    assert graft("fit", *settings, "--run_dir", "one") == (0, "")
    assert graft("validate", "--ckpt_path", "one", "--run_dir", "two")[0] == 0
    assert graft("fit", "--config", "one/config.yaml", "--run_dir", "three") == (0, "")
    for run in ("one", "three"):
        assert yaml.safe_load((tmp_path / run / "config.yaml").read_text())["model"]["init_args"]["classes"] == names
        assert read_checkpoint(tmp_path / run / "checkpoints" / "last.ckpt")["hyper_parameters"]["classes"] == names


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("typed", ["--config {}", "--config={}"])
def test_a_yaml_that_is_not_utf_8_is_named(refused, tmp_path, encoding, typed):
    (tmp_path / "mine.yaml").write_bytes("# für mich\nseed_everything: 1\n".encode(encoding))
    refused(2, ["fit", *typed.format("mine.yaml").split()], "mine.yaml", "UTF-8")
