"""GeneratedImages: the same noise in every epoch, latent interpolations, rows of classes."""

import torch
from PIL import Image

from callbacks import GeneratedImages
from callbacks.collectors.base import arrays
from callbacks.figures.generated import tiles
from callbacks.generation.generated_images import slerp
from modules.contracts import ConfigError
from tests.helpers.errors import refuses
from tests.helpers.small_generator import Generator, shapes


class Turning(Generator):
    """Generator whose images get darker with every step."""

    def images(self, noise, label=None):
        return super().images(noise, label) - 0.05 * self.global_step


def fit(trainer, task, data, **settings):
    run = trainer(GeneratedImages(), **settings)
    run.fit(task, datamodule=data)
    return run


def test_a_grid_for_every_epoch_and_one_before_becomes_a_film(trainer, tmp_path):
    data = shapes()
    fit(trainer, Turning(data), data, max_epochs=3)
    folder = tmp_path / "figures"
    frames = sorted((folder / "generated").glob("*.png"))
    assert [frame.stem for frame in frames] == [f"epoch_{i:04d}" for i in range(4)]
    grids = [torch.tensor(list(Image.open(frame).resize((8, 8)).tobytes())).float().mean() for frame in frames]
    assert grids[0] > grids[2]
    with Image.open(folder / "generated.gif") as film:
        assert film.n_frames == len(frames) and film.info["loop"] == 0
        assert film.size == Image.open(frames[0]).size
    assert (folder / "generated_walks.png").is_file()
    assert not (folder / "generated_classes.png").exists()


def test_the_film_goes_on_after_a_resume(trainer, tmp_path):
    data = shapes()
    run = fit(trainer, Generator(data), data, max_epochs=1)
    run.save_checkpoint(tmp_path / "end.ckpt")
    again = trainer(GeneratedImages(), max_epochs=3)
    again.fit(Generator(data), datamodule=data, ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    assert len(list((tmp_path / "figures" / "generated").glob("*.png"))) == 4


def test_a_conditional_generator_shows_its_classes_in_rows(trainer, tmp_path):
    data = shapes()
    fit(trainer, Generator(data, condition="embedding"), data)
    assert (tmp_path / "figures" / "generated_classes.png").is_file()


def test_test_draws_what_the_tested_weights_make(trainer, tmp_path):
    data = shapes()
    trainer(GeneratedImages()).test(Generator(data), datamodule=data, verbose=False)
    assert (tmp_path / "figures" / "test_generated.png").is_file()


def test_training_does_not_notice_that_images_are_drawn(trainer):
    data = shapes()
    task, before = Generator(data), torch.get_rng_state()
    callback = GeneratedImages()
    callback._grid(trainer(callback), task, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_walks_keep_the_length_of_noise_and_its_ends():
    start, end = torch.randn(2, 512)
    walk = slerp(start, end, 9)
    torch.testing.assert_close(walk[[0, -1]], torch.stack([start, end]))
    shortest = min(start.norm(), end.norm())
    assert (walk.norm(dim=1) > 0.95 * shortest).all()
    assert torch.lerp(start, end, 0.5).norm() < 0.8 * shortest  # what a straight walk would do
    angles = torch.nn.functional.cosine_similarity(walk[1:], walk[:-1]).acos()
    torch.testing.assert_close(angles, angles[:1].expand(8), atol=0.02, rtol=0)
    torch.testing.assert_close(slerp(start, start, 3), start.expand(3, -1))


def test_tiles_stand_row_by_row_and_small_images_grow_pixel_by_pixel():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 32, 32)
    grid = tiles(arrays(images), 3)
    assert grid.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    assert [grid[2 + 66 * r + 30, 2 + 66 * c + 30, 0] for r, c in ((0, 0), (0, 2), (1, 1))] == [0, 2, 4]
    assert (grid[0] == 255).all() and (grid[70:, 140:] == 255).all()


def test_an_interval_of_nothing_is_refused():
    with refuses(ConfigError, "GeneratedImages", "every", 0):
        GeneratedImages(every=0)
