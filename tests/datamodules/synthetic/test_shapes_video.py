"""The built-in clips: the same everywhere, and classes that only motion tells apart."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest
from sklearn.ensemble import RandomForestClassifier

from datamodules import ShapesVideo
from datamodules.synthetic.motion import DRIFT, MOTIONS, MOVERS, SIZES, SPEED, clip
from datamodules.synthetic.render import film, render
from datamodules.synthetic.world import SHAPES, Scene, Thing


def small(**options) -> ShapesVideo:
    data = ShapesVideo(**({"train": 24, "val": 8, "test": 4, "batch_size": 8, "workers": 0} | options))
    data.setup("fit")
    return data


def states(moments: list[tuple[Thing, ...]]) -> np.ndarray:
    """States (T, 4) of the thing by frame: x, y, size and angle in turns of their circles."""
    rows = []
    for things in moments:
        grown = (things[0].size - SIZES[0]) / (SIZES[1] - SIZES[0])
        rows.append((things[0].x % 1, things[0].y % 1, grown, things[0].angle / 360))
    return np.array(rows)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray]:
    """States of 4,000 clips (N, 8, 4), and their motions (N,)."""
    drawn = [clip(0, i, 8) for i in range(4000)]
    return np.array([states(moments) for _, moments, _ in drawn]), np.array([motion for *_, motion in drawn])


def test_a_clip_is_the_same_bytes_in_every_process_and_on_every_machine():
    still, moments, motion = clip(7, 3, 8)
    digest = hashlib.sha256(film(still, moments, 64).tobytes()).hexdigest()
    assert (MOTIONS[motion], digest[:16]) == ("clockwise", "af2e5ab85c0ea8da")


def test_a_frame_is_the_image_of_its_things():
    still, moments, _ = clip(0, 5, 4)
    frames = film(still, moments, 64)
    alone, _ = render(Scene(still.things + moments[0], still.background, main=0), 64)
    assert np.array_equal(frames[0], alone)
    assert len({frame.tobytes() for frame in frames}) == 4


def test_each_motion_goes_its_way(world):
    paths, motions = world
    steps = (np.diff(paths, axis=1) + 0.5) % 1 - 0.5  # the short way round
    speed = steps.sum(1)
    own = speed[np.arange(len(speed)), motions // 2] * np.where(motions % 2, 1, -1)
    assert SPEED[0] <= own.min() < SPEED[0] + 0.01
    assert SPEED[1] - 0.01 < own.max() <= SPEED[1]
    others = np.delete(np.abs(speed).reshape(-1), np.arange(len(speed)) * 4 + motions // 2)
    assert DRIFT - 0.01 < others.max() <= DRIFT
    assert np.ptp(steps, axis=1).max() < 1e-9  # steady


def test_the_motions_are_equally_many(world):
    counts = np.bincount(world[1], minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < chi2.ppf(0.999, 7)


@pytest.mark.parametrize("motion", range(8), ids=MOTIONS)
def test_every_frame_of_every_motion_shows_the_same_distribution(world, motion):
    paths = world[0][world[1] == motion]
    for frame in (0, 3, 7):
        state = paths[:, frame]
        assert all(kstest(state[:, part], "uniform").pvalue > 1e-4 for part in range(4))
        assert np.abs(np.corrcoef(state.T)[np.triu_indices(4, 1)]).max() < 4 / np.sqrt(len(state))


def test_shape_and_color_say_nothing_about_the_motion():
    seen = Counter()
    for i in range(4000):
        _, moments, motion = clip(0, i, 1)
        seen[motion, moments[0][0].shape, moments[0][0].color] += 1
    table = np.zeros((8, len(SHAPES), 10))
    for key, count in seen.items():
        table[key] = count
    table = table[:, list(MOVERS)].reshape(8, -1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 7 * (table.shape[1] - 1))


@pytest.mark.integration
def test_single_frames_cannot_be_told_apart_but_pairs_can():
    """A random forest on small gray frames: at chance on one frame, well above it on the difference of two."""
    data = small(train=800, val=600, test=1, frames=8)
    (train, rows), (val, judged) = data.splits["train"], data.splits["val"]

    def accuracy(features) -> float:
        forest = RandomForestClassifier(60, min_samples_leaf=3, random_state=0, n_jobs=1)
        forest.fit(features(train.clips[rows]), train.labels[rows])
        return forest.score(features(val.clips[judged]), val.labels[judged])

    def shrunk(clips: np.ndarray) -> np.ndarray:
        gray = torch.from_numpy(clips).float().mean(-1)
        return torch.nn.functional.avg_pool2d(gray, 8).flatten(2).numpy()

    def moments(clips: np.ndarray) -> np.ndarray:
        """Center, spread and angle of the difference to the clip's own median, frame by frame, and their changes."""
        gray = torch.from_numpy(clips).float().mean(-1)
        moved = (gray - gray.median(1, keepdim=True).values).abs() > 30
        place = torch.linspace(0, 2 * np.pi, 64)
        weights = torch.stack([place.cos(), place.sin()]) @ moved.float()
        across = torch.einsum("nthw,aw->ntah", moved.float(), torch.stack([place.cos(), place.sin()])).sum(-1)
        down = weights.sum(-1)
        area = moved.float().mean((2, 3))
        phase = torch.stack([torch.atan2(p[..., 1], p[..., 0]) for p in (across, down)], -1)
        steps = torch.diff(phase, dim=1)
        steps = torch.atan2(steps.sin(), steps.cos()).flatten(1)
        return torch.cat([steps, torch.diff(area, dim=1)], 1).numpy()

    chance, error = 1 / 8, np.sqrt(1 / 8 * 7 / 8 / 600)
    for frame in (0, 4):
        assert abs(accuracy(lambda clips, at=frame: shrunk(clips)[:, at]) - chance) < 3.5 * error < 0.05
    assert accuracy(moments) > 2.5 * chance


def test_splits_share_no_clip():
    data = small()
    seen = {frames.tobytes() for source, _ in data.splits.values() for frames in source.clips}
    assert len(seen) == 24 + 8 + 4


def test_batches_are_the_contract():
    data = small(frames=5, image_size=32)
    batch = next(iter(data.train_dataloader()))
    assert batch["video"].shape == (8, 3, 5, 32, 32)
    assert batch["video"].dtype == torch.uint8
    assert batch["label"].dtype == torch.int64
    assert len(batch["id"]) == 8
    assert data.classes == list(MOTIONS)
    row = int(batch["id"][0].split("/")[1])
    source, _ = data.splits["train"]
    assert np.array_equal(batch["video"][0].permute(1, 2, 3, 0), source.clips[row])


def test_recipes_do_not_mirror_unless_told_to():
    still, turned = small(augment="flip"), small(augment="flip", flip=True)
    clips = [np.concatenate([b["video"].numpy() for b in d.train_dataloader()]) for d in (still, turned)]
    same = (clips[0] == clips[1]).all((1, 2, 3, 4))
    mirrored = (clips[0] == clips[1][..., ::-1]).all((1, 2, 3, 4))
    assert (same ^ mirrored).all()
    assert 0 < mirrored.sum() < 24
