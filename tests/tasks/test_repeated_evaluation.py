"""Optimizers that evaluate a batch several times per step, in training: L-BFGS and SAM."""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule
from torch.nn import functional
from torch.utils.data import DataLoader

from callbacks.random_state import RandomState
from modules.contracts import ConfigError
from modules.heads import Linear
from modules.training.optim import Optim
from tasks import BYOL, DINO, GAN, MAE, NNCLR, Classification, MoCo, SwAV
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

LBFGS = Optim(
    partial(torch.optim.LBFGS, max_iter=4, line_search_fn="strong_wolfe"), lr=1, schedule="constant", warmup=0
)
SAM = Optim(partial(torch.optim.SGD, momentum=0.9), lr=0.05, sam=0.1, l1=1e-4, schedule="constant", warmup=0)


def task(optim: Optim, **settings) -> Classification:
    torch.manual_seed(0)
    return Classification(classes=["a", "b", "c"], backbone="test_vit", optim=optim, **settings)


def batches(count: int, size: int = 6) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, size, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return [{"image": image, "label": torch.arange(size) % 3, "id": ["x"] * size} for image in images]


class Share(LightningDataModule):
    """This process's slice of each batch."""

    batch_size = 6

    def train_dataloader(self) -> DataLoader:
        each = 6 // self.trainer.world_size
        mine = slice(self.trainer.global_rank * each, (self.trainer.global_rank + 1) * each)
        made = [{key: value[mine] for key, value in batch.items()} for batch in batches(3)]
        return DataLoader(made, batch_size=None, collate_fn=dict)


def test_l_bfgs_trains_as_torchs_own_loop_and_each_batch_counts_once():
    trained, own = task(LBFGS, frozen=True), task(LBFGS, frozen=True)
    trainer = quiet(max_epochs=1)
    trainer.fit(trained, DataLoader(batches(3), batch_size=None, collate_fn=dict))
    optimizer = torch.optim.LBFGS(own.head.parameters(), lr=1, max_iter=4, line_search_fn="strong_wolfe")
    own.train()
    losses = []
    for batch in batches(3):
        image = own.backbone.normalize(batch["image"])

        def closure(image=image, label=batch["label"]) -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(own(image), label)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    torch.testing.assert_close(trained.head.state_dict(), own.head.state_dict())
    assert trainer.global_step == 3
    assert trainer.callback_metrics["train/loss_epoch"].item() == pytest.approx(sum(losses) / 3, rel=1e-5)


@pytest.mark.parametrize("optim", [LBFGS, SAM], ids=["lbfgs", "sam"])
def test_a_resumed_run_ends_with_the_same_bits(optim, tmp_path):
    def fit(epochs: int, path: Path | None = None) -> Classification:
        made = task(optim, head=partial(Linear, dropout=0.3))
        loader = DataLoader(batches(2), batch_size=None, collate_fn=dict, generator=torch.Generator())
        trainer = quiet(max_epochs=epochs, callbacks=[RandomState()])
        trainer.fit(made, loader, ckpt_path=path, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return made

    whole, first = fit(2), fit(1)
    resumed = fit(2, tmp_path / "1.ckpt")
    pairs = list(zip(whole.parameters(), resumed.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(torch.equal(a, b) for a, b in zip(whole.parameters(), first.parameters(), strict=True))


def test_two_processes_take_the_steps_of_one(alone_and_by_twos):
    def work(processes: int, path: Path) -> None:
        settings = {
            "lbfgs": (LBFGS, 1, {"frozen": True}),
            "sam": (SAM, 1, {}),
            "sam, unfreezing": (SAM, 2, {"unfreeze": "0:head,1:blocks.1@0.1"}),
        }
        found = {}
        for name, (optim, epochs, more) in settings.items():
            made = task(optim, **more)
            strategy = "ddp" if processes > 1 else "auto"
            trainer = quiet(max_epochs=epochs, devices=processes, strategy=strategy, use_distributed_sampler=False)
            trainer.fit(made, datamodule=Share())
            weights = made.head.fc.weight, made.backbone.net.get_parameter("blocks.1.attn.qkv.weight")
            found[name] = [value for weight in weights for value in weight.flatten()[:200].tolist()]
        path.write_text(json.dumps(found))

    one, two = (json.loads(path.read_text()) for path in alone_and_by_twos(work))
    for name, expected in one.items():
        assert two[name] == pytest.approx(expected, abs=1e-4), name


@pytest.mark.parametrize(
    ("optim", "settings", "names"),
    [
        (LBFGS, {"accumulate_grad_batches": 2}, ("LBFGS", "trainer.accumulate_grad_batches")),
        (LBFGS, {"gradient_clip_val": 1.0}, ("LBFGS", "trainer.gradient_clip_val")),
        (SAM, {"accumulate_grad_batches": 2}, ("optim.sam", "trainer.accumulate_grad_batches")),
    ],
)
def test_trainers_that_cannot_evaluate_again_are_refused(optim, settings, names):
    with refuses(ConfigError, *names):
        quiet(max_epochs=1, **settings).fit(task(optim), DataLoader(batches(2), batch_size=None, collate_fn=dict))


def test_float16_and_tasks_that_cannot_evaluate_again_are_refused():
    made = task(LBFGS)
    made.trainer = quiet(max_epochs=1)
    made.trainer.precision_plugin.precision = "16-mixed"
    with refuses(ConfigError, "LBFGS", "16-mixed"):
        made.check_optimizer(LBFGS, LBFGS.build(made, None, 1)[0])
    other = GAN(optim=SAM)
    other.trainer = quiet(max_epochs=1)
    with refuses(ConfigError, "optim.sam", "GAN"):
        other.check_optimizer(SAM, torch.optim.SGD(other.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("method", "settings", "part"),
    [
        (MoCo, {}, "queue"),
        (NNCLR, {"queue_size": 64}, "queue"),
        (SwAV, {"queue_size": 64}, "queue"),
        (SwAV, {}, None),
        (DINO, {"prototypes": 8}, "center"),
        (DINO, {"prototypes": 8, "centering": "sinkhorn"}, None),
        (MAE, {"decoder_depth": 1}, None),
        (BYOL, {}, None),
    ],
)
def test_methods_are_refused_for_what_an_evaluation_changes_in_them(method, settings, part):
    made = method(backbone="test_vit", optim=SAM, **settings)
    made.trainer = quiet(max_epochs=1)
    with refuses(ConfigError, "optim.sam", method.__name__, part) if part else nullcontext():
        made.check_optimizer(SAM, torch.optim.SGD(made.parameters(), lr=0.1))


def test_every_evaluation_of_a_batch_has_the_same_mixed_images_and_labels():
    mixed = task(SAM, mixup=1.0)
    seen, loss = [], mixed.head.loss
    mixed.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    mixed.head.loss = lambda logits, label: seen.append(label.clone()) or loss(logits, label)
    quiet(max_steps=1).fit(mixed, DataLoader(batches(1, size=8), batch_size=None, collate_fn=dict))
    image, label, again, label_again = seen
    assert torch.equal(image, again) and torch.equal(label, label_again) and label.max() < 1
