"""GANs: step counting, EMA, gradient clipping, accumulation, refusals, learning."""

import copy
from itertools import pairwise

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.gan import BackboneDiscriminator, DCGANDiscriminator, DCGANGenerator, ImageSpec, ResNetDiscriminator
from modules.gan.contracts import Discriminator, Generator
from modules.losses.adversarial import gradient_penalty
from modules.training.optim import Optim
from tasks import GAN, WGAN
from tests.helpers.errors import refuses

SMALL = {"image_size": 16, "latent": 8}


def thin(make, **options):
    return lambda *spec: make(*spec, width=4, **options)


NORMAL = {"generator": thin(DCGANGenerator), "discriminator": thin(DCGANDiscriminator, norm="layer")} | SMALL
LARGER = {"image_size": 32}
SGD = {"optim": Optim(torch.optim.SGD, lr=0.01, schedule="constant", warmup=0)}
SGD |= {"discriminator_optim": Optim(torch.optim.SGD, lr=0.02, schedule="constant", warmup=0)}


class Noise(L.LightningDataModule):
    """Data with different images in each of `steps` batches per epoch."""

    def __init__(self, steps: int = 4, batch_size: int = 4, size: int = 16, channels: int = 3):
        super().__init__()
        self.batch_size = batch_size
        draw = torch.Generator().manual_seed(1)
        shape = (steps, batch_size, channels, size, size)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)

    def train_dataloader(self) -> DataLoader:
        label, ids = torch.arange(self.batch_size) % 2, [f"{i}" for i in range(self.batch_size)]
        batches = [{"image": image, "label": label, "id": ids} for image in self.images]
        return DataLoader(batches, batch_size=None, collate_fn=dict, generator=torch.Generator())  # leaves torch's own

    val_dataloader = train_dataloader


class Watch(L.Callback):
    """Copies of both networks before the first batch and after each, and the trainer's step by then."""

    def __init__(self) -> None:
        self.generators: list[dict[str, Tensor]] = []
        self.discriminators: list[dict[str, Tensor]] = []
        self.steps: list[int] = []

    def note(self, trainer: L.Trainer, task: L.LightningModule, *_: object) -> None:
        self.generators.append({k: v.clone() for k, v in task.generator.state_dict().items()})
        self.discriminators.append({k: v.clone() for k, v in task.discriminator.state_dict().items()})
        self.steps.append(trainer.global_step)

    on_train_start = on_train_batch_end = note


def fit(task: L.LightningModule, data: L.LightningDataModule | None = None, **settings) -> L.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    path = settings.pop("ckpt_path", None)
    settings = {"max_epochs": 1, "accelerator": "cpu", "num_sanity_val_steps": 0, "limit_val_batches": 0} | settings
    trainer = L.Trainer(**quiet | settings)
    trainer.fit(task, datamodule=data or Noise(), ckpt_path=path, weights_only=True if path else None)
    return trainer


def differs(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(one[k], other[k]) for k in one if "running" not in k and "batches" not in k)


def test_steps_of_the_generator_count_and_come_after_n_critic_of_the_discriminator_also_across_epochs():
    watch, task = Watch(), GAN(n_critic=5, **NORMAL)
    trainer = fit(task, Noise(steps=4), max_epochs=4, callbacks=[watch])  # 16 batches
    assert watch.steps == [0, *[0] * 4, *[1] * 5, *[2] * 5, *[3] * 2]
    pairs = list(pairwise(watch.generators))
    assert [differs(a, b) for a, b in pairs] == [i % 5 == 4 for i in range(16)]
    judged = [differs(a, b) for a, b in pairwise(watch.discriminators)]
    assert judged == [True] * 15 + [False]  # one more than the generator waits for: both schedules are at 0 by then
    assert task.updates.rounds == 1
    assert [int(o.state_dict()["state"][0]["step"]) for o in trainer.optimizers] == [3, 16]


@pytest.mark.parametrize(("n_critic", "accumulate"), [(1, 1), (5, 1), (2, 3)])
def test_max_steps_are_steps_of_the_generator(n_critic, accumulate):
    task = GAN(n_critic=n_critic, accumulate=accumulate, **NORMAL)
    trainer = fit(task, Noise(steps=60), max_epochs=-1, max_steps=3)
    assert trainer.global_step == 3
    assert trainer.fit_loop.epoch_loop.total_batch_idx + 1 == 3 * n_critic * accumulate
    assert [int(o.state_dict()["state"][0]["step"]) for o in trainer.optimizers] == [3, 3 * n_critic]


def test_both_schedules_end_when_the_run_ends():
    task = GAN(n_critic=2, **NORMAL)
    fit(task, Noise(steps=6), max_epochs=2)
    for schedule, steps in zip(task.lr_schedulers(), (6, 12), strict=True):
        assert schedule.last_epoch == steps
        assert schedule.get_last_lr() == [0, 0]
    half = GAN(n_critic=2, **NORMAL)
    fit(half, Noise(steps=6), max_epochs=-1, max_steps=4)
    assert [s.get_last_lr()[0] for s in half.lr_schedulers()] == [0, 0]


def test_a_run_too_short_for_a_single_step_of_the_generator_is_refused():
    with refuses(ConfigError, 5, 4, "trainer.max_epochs", "--data.batch_size", "--model.n_critic"):
        fit(GAN(n_critic=5, **NORMAL), Noise(steps=4))


def plain_loop(task: GAN, images: Tensor, rates: tuple[float, float]) -> tuple[nn.Module, nn.Module]:
    """Hand-written reference of the training; SGD without momentum."""
    generator, judge = copy.deepcopy(task.generator), copy.deepcopy(task.discriminator)
    ours = torch.optim.SGD(generator.parameters(), rates[0])
    theirs = torch.optim.SGD(judge.parameters(), rates[1])
    for image in images:
        real = image.float() / 127.5 - 1
        fake = generator(torch.randn(len(real), task.latent))
        mix = torch.rand(len(real), 1, 1, 1)
        loss = task.gan_loss.discriminator(judge(real).score, judge(fake.detach()).score)
        loss = loss + 10 * gradient_penalty(lambda x: judge(x).score, real, fake.detach(), mix)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        ours.zero_grad()
        task.gan_loss.generator(judge(fake).score).backward()
        ours.step()
    return generator, judge


def test_training_equals_a_plain_loop():
    data, task = Noise(steps=5), GAN(loss="least_squares", penalty="gradient", **NORMAL, **SGD)
    torch.manual_seed(3)
    expected = plain_loop(task, data.images, (0.01, 0.02))
    torch.manual_seed(3)
    fit(task, data)
    for network, wanted in zip((task.generator, task.discriminator), expected, strict=True):
        for (name, value), other in zip(network.named_parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(value, other, msg=name, atol=1e-5, rtol=1e-4)


def test_accumulated_batches_make_one_step_of_the_size_of_all_of_them():
    """Without batch norm two batches of four are one of eight, for the discriminator's first step."""
    whole, halves = Noise(steps=1, batch_size=8), Noise(steps=2, batch_size=4)
    halves.images = whole.images.reshape(halves.images.shape)
    tasks = []
    for data, accumulate in ((whole, 1), (halves, 2)):
        torch.manual_seed(3)
        task = GAN(accumulate=accumulate, **NORMAL, **SGD)
        task.generator.eval()  # whose batch norm sees batches
        task.generator.train = lambda mode=True, network=task.generator: network
        torch.manual_seed(4)  # the noise of eight is the noise of four, twice
        fit(task, data)
        tasks.append(task)
    for value, other in zip(*(task.discriminator.parameters() for task in tasks), strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-4)


def test_what_is_left_of_an_epoch_is_a_step_of_its_own():
    watch = Watch()
    fit(GAN(accumulate=3, **NORMAL), Noise(steps=4), max_epochs=2, callbacks=[watch])
    changed = [differs(a, b) for a, b in pairwise(watch.discriminators)]
    assert changed == [False, False, True, True] * 2
    assert watch.steps[-1] == 4


def test_the_average_follows_the_generator_step_by_step_and_makes_the_images():
    watch, task = Watch(), GAN(ema_decay=0.6, n_critic=2, **NORMAL)
    fit(task, Noise(steps=12), callbacks=[watch])
    steps = pairwise(watch.steps)
    after = [now for now, (before, step) in zip(watch.generators[1:], steps, strict=True) if step > before]
    assert len(after) == 6
    expected = {name: value.double() for name, value in watch.generators[0].items()}
    for step, now in enumerate(after, 1):
        kept = min(0.6, (1 + step) / (10 + step))
        expected = {name: kept * value + (1 - kept) * now[name].double() for name, value in expected.items()}
    for name, value in task.averaged.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], atol=1e-6, rtol=1e-5)
    noise = torch.randn(3, 8)
    torch.testing.assert_close(task.images(noise), task.averaged.eval()(noise))
    assert not torch.allclose(task.images(noise), task.generator.eval()(noise))


@pytest.mark.parametrize("bound", [0.01, 0.03])
def test_weights_of_a_critic_stay_within_their_bound(bound):
    discriminator = thin(DCGANDiscriminator, norm="none")
    task = WGAN(**NORMAL | {"discriminator": discriminator}, penalty="none", weight_clip=bound, n_critic=1)
    fit(task)
    assert max(p.abs().max().item() for p in task.discriminator.parameters()) == pytest.approx(bound)
    assert max(p.abs().max().item() for p in task.generator.parameters()) > bound


def test_gradients_are_clipped_together():
    watch, clip = Watch(), 1e-3
    fit(GAN(gradient_clip=clip, **NORMAL, **SGD), callbacks=[watch])
    for states, rate in ((watch.generators, 0.01), (watch.discriminators, 0.02)):
        for before, after in pairwise(states):
            moved = [(after[k] - before[k]).flatten() for k in before if "running" not in k and "batches" not in k]
            assert torch.cat(moved).norm().item() <= 1.01 * clip * rate


def test_the_generators_step_leaves_the_discriminator_without_gradients_and_trainable():
    task = GAN(**NORMAL)
    fit(task)
    assert all(p.requires_grad and p.grad is None for p in task.discriminator.parameters())


@pytest.mark.parametrize("condition", ["embedding", "projection", "auxiliary"])
@pytest.mark.parametrize("networks", [{}, {"discriminator": thin(DCGANDiscriminator)}])
def test_conditional_training_and_images(condition, networks):
    task = GAN(condition=condition, classes=["a", "b", "c"], **NORMAL | networks)
    trainer = fit(task, limit_val_batches=1)
    assert trainer.callback_metrics["val/d_real"].isfinite()
    assert task.generate(5).shape == (5, 3, 16, 16)
    noise = torch.randn(2, 8)
    torch.testing.assert_close(task.images(noise), task.images(noise, torch.tensor([0, 1])))  # each in turn


def test_an_auxiliary_classifier_learns_the_classes():
    """Data of bright images of one class and dark ones of the other."""
    data = Noise(steps=60, batch_size=8)
    data.images = torch.where((torch.arange(8) % 2 == 0)[:, None, None, None], 60, 200).expand(60, 8, 3, 16, 16).byte()
    task = GAN(condition="auxiliary", classes=["dark", "bright"], **NORMAL)
    fit(task, data)
    logits = task.discriminator.eval()(task.spec.scale(data.images[0])).logits
    assert (logits.argmax(1) == torch.arange(8) % 2).all()


class Constant(Generator):
    """Generator with one learned color for all images."""

    def __init__(self, spec: ImageSpec, latent: int):
        super().__init__(spec, latent)
        self.color = nn.Parameter(torch.zeros(spec.channels, 1, 1))
        self.size = spec.size

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.color.tanh().expand(len(noise), -1, self.size, self.size)


class Plane(Discriminator):
    """Discriminator that is linear in the mean color."""

    def __init__(self, spec: ImageSpec):
        super().__init__(spec, spec.channels)

    def features(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


def test_a_generator_of_one_color_finds_the_color_of_the_data():
    """With a penalty at real images this game converges to its equilibrium (Mescheder et al. 2018)."""
    optim = Optim(torch.optim.SGD, lr=0.5, schedule="linear", warmup=0)
    data = Noise(steps=200)
    data.images = torch.tensor([200, 100, 50]).view(3, 1, 1).expand(200, 4, 3, 16, 16).byte()
    networks = {"generator": Constant, "discriminator": Plane, "penalty": "r1", "penalty_weight": 200.0}
    task = GAN(**networks, optim=optim, discriminator_optim=optim, **SMALL)
    fit(task, data)
    expected = torch.tensor([200, 100, 50]) / 127.5 - 1
    torch.testing.assert_close(task.generate(1)[0, :, 0, 0], expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("augment", [[], ["color", "translation", "cutout"]])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("penalty", ["gradient", "r1", "dragan"])
def test_every_penalty_trains_in_every_precision(augment, precision, penalty):
    task = GAN(loss="hinge", penalty=penalty, penalty_every=2, augment=augment, **NORMAL)
    fit(task, precision=precision)
    assert task.measured["penalty"].dtype == torch.float32
    assert all(p.isfinite().all() for p in task.parameters())


def test_a_lazy_penalty_comes_every_so_many_steps_and_as_much_stronger(monkeypatch):
    seen = []
    task = GAN(penalty="r1", penalty_weight=2.0, penalty_every=3, n_critic=2, **NORMAL)
    backward = task.updates.backward
    monkeypatch.setattr(
        task.losses,
        "slope_penalty",
        lambda *_: seen.append(task.updates.rounds) or torch.tensor(1.0, requires_grad=True),
    )
    monkeypatch.setattr(task.updates, "backward", lambda loss: seen.append(loss.item()) or backward(loss))
    torch.manual_seed(0)
    fit(task, Noise(steps=7))
    lazy = [i for i, value in enumerate(seen) if isinstance(value, int)]
    losses = [value for value in seen if isinstance(value, float)]
    assert len(lazy) == 3  # of seven steps: 0, 3, 6
    assert len(losses) == 7 + 3
    assert [value > 5 for value in losses] == [True, False, False, False, True, False, False, False, False, True]


def test_discriminators_with_batch_norm_judge_real_and_generated_images_apart():
    task = GAN(**NORMAL | {"discriminator": thin(DCGANDiscriminator)})
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16) + 3
    apart = task.discriminator(real).score, task.discriminator(fake).score
    for output, score in zip(task.discriminator.compare(real, fake), apart, strict=True):
        torch.testing.assert_close(output.score, score)
    assert not torch.allclose(task.discriminator(torch.cat([real, fake])).score[:4], apart[0])


def test_noise_of_validation_follows_from_the_place_of_a_sample_alone():
    task, found = GAN(**NORMAL).eval(), []
    for size in (2, 8):
        task.on_data(DataInfo(batch_size=size), "validate")
        found.append(torch.cat([task.make({"id": ["x"] * size}, i, 0)["noise"] for i in range(8 // size)]))

    assert torch.equal(*found)


def test_a_generator_draws_what_its_own_random_state_says():
    task = GAN(**NORMAL)
    one, two = (task.generate(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert task.generator.training  # as it was
    assert torch.equal(task.fixed_noise, GAN(**NORMAL).fixed_noise)
    assert task.fixed_noise.shape == (64, 8)


def test_a_checkpoint_goes_on_in_the_middle_of_a_round(tmp_path):
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "task.ckpt")

    torch.manual_seed(0)
    task = GAN(n_critic=3, ema_decay=0.9, **NORMAL)
    fit(task, Noise(steps=4), callbacks=[Save()])  # 4 batches: a round and a third
    saved = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert (saved["global_step"], saved["rounds"], len(saved["optimizer_states"])) == (1, 1, 2)
    assert {k.partition(".")[0] for k in saved["state_dict"]} == {
        "generator",
        "discriminator",
        "averaged",
        "fixed_noise",
    }
    again, watch = GAN(n_critic=3, ema_decay=0.9, **NORMAL), Watch()
    fit(again, Noise(steps=4), max_epochs=2, ckpt_path=tmp_path / "task.ckpt", callbacks=[watch])
    assert watch.steps == [1, 1, 2, 2, 2]


def test_the_backbone_of_a_discriminator_takes_weights(tmp_path):
    from modules.backbones import Timm
    from modules.training.transfer import export_backbone

    source = Timm("test_resnet")
    export_backbone(source, tmp_path / "backbone.safetensors")
    path = str(tmp_path / "backbone.safetensors")

    def judge(spec: ImageSpec) -> BackboneDiscriminator:
        return BackboneDiscriminator(spec, "test_resnet", weights=path)

    slow = Optim(torch.optim.SGD, lr=0.0)
    task = GAN(**NORMAL | {"image_size": 32, "discriminator": judge}, discriminator_optim=slow)
    fit(task, Noise(size=32))
    torch.testing.assert_close(task.discriminator.backbone.net.conv1[0].weight, source.net.conv1[0].weight)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            {"penalty": "gradient", "discriminator": thin(DCGANDiscriminator)},
            ("model.penalty", "gradient", "DCGANDiscriminator", "--model.discriminator.norm"),
        ),
        (
            {"penalty": "r1", "image_size": 32, "discriminator": lambda c: BackboneDiscriminator(c, "test_resnet")},
            ("model.penalty", "r1", "BackboneDiscriminator"),
        ),
        ({"condition": "projection"}, ("model.condition", "projection", "--data")),
        ({"condition": "auxiliary", "classes": []}, ("model.condition", "auxiliary", "--data")),
        ({"n_critic": 0}, ("model.n_critic", 0)),
        ({"accumulate": 0}, ("model.accumulate", 0)),
        ({"latent": 0}, ("model.latent", 0)),
        ({"image_size": 30}, (30, "--data.image_size", 28, 32)),
        ({"ema_decay": 1.0}, ("model.ema_decay", 1)),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, names):
    with refuses(ConfigError, *names):
        GAN(**NORMAL | settings)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"penalty": "none"}, ("--model.penalty gradient", "--model.weight_clip", "--model.discriminator.spectral")),
        ({"weight_clip": 0.01}, ("model.weight_clip", 0.01, "model.penalty", "gradient")),
        ({"weight_clip": -1.0, "penalty": "none"}, ("model.weight_clip", -1)),
    ],
)
def test_critics_without_bound_or_with_two_are_refused(settings, names):
    with refuses(ConfigError, *names):
        WGAN(**NORMAL | settings)
    WGAN(**NORMAL | {"discriminator": thin(ResNetDiscriminator, spectral=True)}, penalty="none")


def test_data_that_does_not_fit_is_refused():
    task = GAN(**NORMAL)
    with refuses(ConfigError, 1, 3, "--model.channels 1"):
        fit(task, Noise(channels=1))
    with refuses(ConfigError, "20 x 20", "--data.image_size 16"):
        fit(task, Noise(size=20))
    with refuses(DataError, -1, 0.5):
        task.spec.scale(torch.tensor([-1.0, 0.5]).expand(1, 3, 16, 8, 2).reshape(1, 3, 16, 16))
    torch.testing.assert_close(task.spec.scale(torch.ones(1, 3, 16, 16)), torch.ones(1, 3, 16, 16))
    bytes_ = torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 3, 16, 8)
    torch.testing.assert_close(task.spec.scale(bytes_), bytes_.float() / 127.5 - 1)


@pytest.mark.parametrize(
    ("setting", "value", "ours"),
    [("accumulate_grad_batches", 2, "accumulate"), ("gradient_clip_val", 1.0, "gradient_clip")],
)
def test_flags_of_the_trainer_that_it_cannot_apply_name_those_that_work(setting, value, ours):
    with refuses(ConfigError, f"trainer.{setting}", f"--model.{ours}"):
        fit(GAN(**NORMAL), **{setting: value})


def test_labels_for_a_generator_without_are_refused():
    with refuses(ConfigError, "--model.condition"):
        GAN(**NORMAL).generate(2, label=torch.tensor([0, 1]))


def test_batches_of_one_train():
    for task in (GAN(**NORMAL), WGAN(**NORMAL, n_critic=1)):
        trainer = fit(task, Noise(batch_size=1))
        assert trainer.global_step == 4
        assert all(p.isfinite().all() for p in task.parameters())
