"""`in_channels 1` works from the command line in every task of images, with its figures."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("drawn_figures")
YAMLS = [
    "autoencoder",
    "byol",
    "captioning",
    "classification",
    "detection",
    "dino",
    "instance_segmentation",
    "jigsaw",
    "masked_patches",
    "moco",
    "moco_v3",
    "rotation",
    "semantic_segmentation",
    "simclr",
    "simsiam",
]
TINY = "--data.train 32 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0".split()
TINY += "--trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.limit_test_batches 2".split()
TINY += "--trainer.max_epochs 1 --figures.samples 2 --trainer.log_every_n_steps 1 --trainer.precision 32".split()
ONE = "--model.backbone Timm --model.backbone.name resnet18 --model.backbone.in_channels 1".split()


@pytest.mark.slow
@pytest.mark.parametrize("name", YAMLS)
def test_every_image_task_trains_a_network_of_one_channel(graft, name):
    size = "64" if name in ("jigsaw", "detection", "instance_segmentation") else "32"
    code, said = graft("fit", "--config", f"tasks/{name}.yaml", *TINY, "--data.image_size", size, *ONE)
    assert code == 0, said
    run = Path("runs") / name / "latest"
    assert (run / "results.json").is_file()
    assert list((run / "figures").glob("*.png"))


def test_classification_of_one_channel_fits_tests_and_predicts(graft):
    config = ["--config", "tasks/classification.yaml"]
    assert graft("fit", *config, *TINY, "--data.image_size", "32", *ONE) == (0, "")
    for command in ("test", "predict"):
        assert graft(command, *config, "--ckpt_path", "latest")[0] == 0


def test_colorization_of_one_channel_is_refused_by_the_setting(refused):
    typed = ["fit", "--config", "tasks/colorization.yaml", *TINY, "--data.image_size", "32", *ONE]
    refused(2, typed, "in_channels", "1", "--model.backbone.in_channels 3")
