"""Cross-validation by `compare --folds`: the runs are fits as made by hand, each sample is judged once."""

import csv
from pathlib import Path

import pytest
import torch

SMALL = "--data.image_size 32 --data.batch_size 4 --data.workers 0 --data.val_split 0.25 --trainer.max_epochs 1".split()


@pytest.mark.slow
def test_folds_equal_fits_made_by_hand_and_judge_every_image_once(graft, folder):
    typed = ["--config", "tasks/classification.yaml", "--data", "ImageFolder", "--data.root", "pets", *SMALL]
    assert graft("compare", *typed, "--folds", "2", "--run_dir", "cv") == (0, "")
    for fold in range(2):
        own = ["--data.folds", "2", "--data.held_out_fold", str(fold), "--run_dir", f"hand{fold}"]
        assert graft("fit", *typed, *own)[0] == 0
        one, two = (
            torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for run in (Path("cv/classification") / f"seed0_fold{fold}", Path(f"hand{fold}"))
        )
        assert all(torch.equal(one[name], two[name]) for name in one)
    with Path("cv/classification/out_of_fold.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = [path.relative_to("pets").as_posix() for path in Path("pets").rglob("*.*") if "train" in path.parts]
    assert sorted(row["path"] for row in rows) == sorted(images)
    assert {row["fold"] for row in rows} == {"0", "1"}
