"""`explain`, `features` and `inspect` of what `test_commands.py` leaves out: pretraining, heads, decoders, clips."""

import pytest

from tests.helpers.commands import TINY
from tests.helpers.explained import assert_explains, assert_has_features

LOW = "--model.head.score_threshold 0 --model.head.detections 3".split()
VARIANTS = {
    "binary": ("classification", "--model.head.loss binary"),
    "detr": ("detr", ""),
    "fcos": ("detection", "--model.head FCOS"),
    "retinanet": ("detection", "--model.head RetinaNet"),
    "ssd": ("detection", "--model.head SSD --data.image_size 64"),
    "windows": ("detection", "--model.head FastRCNN --data.image_size 64"),
    "clips": ("video", "--model.backbone r3d_18 --model.fusion mean --data.frames 4"),
    "late fusion": ("video", "--model.fusion concat --data.frames 4"),
    "transformer": ("captioning", "--model.decoder TransformerDecoder --model.search.max_length 8"),
    "jigsaw": ("jigsaw", "--data.image_size 64"),  # tiles are parts of the image
    "moco": ("moco", "--data.batch_size 8"),  # the queue holds whole batches
    "wgan": ("wgan", "--trainer.callbacks null"),
}
OTHERS = "autoencoder barlow_twins byol colorization dino fast_style ijepa lejepa mae masked_patches moco_v3".split()
OTHERS += "nnclr rotation simsiam supcon swav vicreg video_simclr videomae".split()
OTHERS += "captioning classification gan semantic_segmentation video".split()  # for `inspect`
VARIANTS |= {name: (name, "") for name in OTHERS}


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_other_run_is_explained_and_shows_its_features(graft, variant):
    family, typed = VARIANTS[variant]
    low = LOW if family == "detection" else []
    typed = ["--config", f"tasks/{family}.yaml", *TINY, *typed.split(), *low]
    assert graft("fit", *typed, "--trainer.limit_train_batches", "1", "--run_dir", "run")[0] == 0
    assert_explains(graft, "run", family)
    assert_has_features(graft, "run", family)
    inspected = ["--data.batch_size", "4", "--lanczos_steps", "1", "--run_dir", "inspected"]
    assert graft("inspect", "--ckpt_path", "run", *inspected)[0] == 0
