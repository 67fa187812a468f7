"""Gradual unfreezing: which parameters learn from which epoch on, and resuming."""

from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from modules.backbones import by_name
from modules.contracts import ConfigError
from modules.training.optim import Optim
from modules.training.transfer import export_backbone, load_backbone
from tasks import BYOL, Classification, SimCLR, unfreezing
from tasks.unfreezing import read_schedule
from tests.helpers.errors import assert_named, refuses, warnings_of
from tests.helpers.training import quiet

CLASSES = ["cat", "dog", "cow"]
PLAIN = Optim(lr=1e-3, schedule="constant")
SAM = Optim(lr=1e-3, schedule="constant", sam=0.05)
LBFGS = Optim(partial(torch.optim.LBFGS, max_iter=2), lr=1, schedule="constant", warmup=0)


def classification(
    unfreeze: str | None = "0:head,1:stage4,2:all", backbone: str = "test_resnet", optim: Optim = PLAIN, **more
):
    torch.manual_seed(0)
    return Classification(classes=CLASSES, backbone=backbone, unfreeze=unfreeze, optim=optim, **more)


def batches(count: int = 2) -> DataLoader:
    random = torch.Generator().manual_seed(0)
    made = [
        {
            "image": torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=random),
            "label": torch.arange(6) % 3,
        }
        for _ in range(count)
    ]
    return DataLoader(made, batch_size=None, collate_fn=dict)


def fit(task: Classification, epochs: int, limit: int = 2, **more) -> dict[str, torch.Tensor]:
    trainer = quiet(max_epochs=epochs, limit_train_batches=limit)
    trainer.fit(task, batches(), weights_only=True, **more)
    task.trained_by = trainer
    return {name: value.clone() for name, value in task.state_dict().items()}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("optim", [PLAIN, SAM, LBFGS], ids=["adamw", "sam", "lbfgs"])
def test_parts_learn_from_their_epoch_on_and_batch_norms_with_them(optim):
    start = {name: value.clone() for name, value in classification().state_dict().items()}
    after = [fit(classification(optim=optim), epochs) for epochs in (1, 2, 3)]
    moved = [changed(start, one) for one in after]
    assert moved[0] == {"head.fc.weight", "head.fc.bias"}
    stage = {name for name in moved[1] if "backbone" in name}
    assert stage and all(name.startswith("backbone.net.layer4.") for name in stage)
    assert any("running_mean" in name for name in stage)
    assert {name for name, p in classification().named_parameters() if p.ndim > 1} <= moved[2]


def test_epochs_are_counted_from_1_where_parts_are_said_to_learn(monkeypatch):
    said = []
    monkeypatch.setattr(unfreezing, "rank_zero_info", said.append)
    fit(task := classification("0:head,1:all"), 2)
    head, everything = (sum(p.numel() for p in part.parameters()) for part in (task.head, task))
    assert len(said) == 2
    assert_named(said[0], "epoch 1", f"{head:,}")
    assert_named(said[1], "epoch 2", f"{everything:,}")


def test_with_everything_from_epoch_0_on_training_is_as_without():
    plain, unfrozen = (fit(classification(text), 2) for text in (None, "0:all"))
    assert not changed(plain, unfrozen)


def test_a_head_alone_learns_as_with_a_frozen_backbone():
    frozen, locked = fit(classification(None, frozen=True), 1), fit(classification("0:head"), 1)
    assert not changed(frozen, locked)


def test_a_part_learns_at_its_factor_of_the_learning_rate():
    optim = Optim(lr=0.1, schedule="constant", warmup=0, backbone=0.5)
    fit(task := classification("0:head@0.2,0:stage4,1:all@1e-2", optim=optim), 1, limit=1)
    rates = {id(p): group["lr"] for group in task.trained_by.optimizers[0].param_groups for p in group["params"]}
    for name, parameter in task.named_parameters():
        factor = 0.2 if "head" in name else 0.5 * (1 if "layer4" in name else 0.01)
        assert rates[id(parameter)] == pytest.approx(0.1 * factor), name


def test_l_bfgs_begins_anew_when_a_part_is_unfrozen():
    unfrozen, first = classification("0:head,1:all", optim=LBFGS), classification("0:head", optim=LBFGS)
    second = classification("0:all", optim=LBFGS)
    second.load_state_dict(fit(first, 1))
    assert not changed(fit(second, 1), fit(unfrozen, 2))


@pytest.mark.parametrize(
    ("epochs", "text", "optim"),
    [
        (1, "0:head,1:stage4@0.1,2:all@0.01", PLAIN),
        (2, "0:head,1:stage4@0.1,2:all@0.01", PLAIN),
        (1, "0:head,1:all", LBFGS),
        (2, "0:head,1:all", LBFGS),
    ],
)
def test_a_resumed_training_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path, epochs, text, optim):
    whole, part, resumed = (classification(text, optim=optim) for _ in range(3))
    expected = fit(whole, 3)
    fit(part, epochs)
    part.trained_by.save_checkpoint(tmp_path / "part.ckpt")
    assert not changed(expected, fit(resumed, 3, ckpt_path=tmp_path / "part.ckpt"))


def test_stages_divide_the_parameters_of_every_backbone():
    for name, count in (("test_resnet", 5), ("test_convnext", 4), ("test_efficientnet", 5), ("test_vit", 1)):
        task = classification(backbone=name)
        parts = [task.part(f"stage{i}") for i in range(count)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert set.union(*parts) | task.part("head") >= {n for n, p in task.named_parameters() if p.requires_grad}
    assert task.part("blocks.1") < task.part("stage0")


@pytest.mark.parametrize("method", [SimCLR, BYOL])
def test_a_continued_pretraining_trains_its_head_first_and_lower_layers_slowly(method, tmp_path):
    export_backbone(classification().backbone, tmp_path / "start.safetensors")
    optim = Optim(lr=1e-3, schedule="constant", layer_decay=0.5, warmup=0)
    settings = {"weights": str(tmp_path / "start.safetensors"), "unfreeze": "0:head,1:all", "optim": optim}
    image = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    data = DataLoader([{"views": [image, image.flip(3)]}], batch_size=None, collate_fn=dict)
    for epochs in (1, 2):
        torch.manual_seed(0)
        task = method(backbone="test_resnet", **settings)
        (trainer := quiet(max_epochs=epochs)).fit(task, data)
        load_backbone(start := by_name("test_resnet"), settings["weights"])
        moved = changed(start.net.state_dict(), task.backbone.net.state_dict())
        assert bool(moved) == (epochs == 2)
    rates = {id(p): group["lr"] for group in trainer.optimizers[0].param_groups for p in group["params"]}
    first, last = next(task.backbone.net.parameters()), task.backbone.net.layer4[0].conv1.weight
    assert rates[id(first)] < rates[id(last)] < 1e-3


def test_parts_that_do_not_exist_and_other_texts_are_refused():
    with refuses(ConfigError, "model.unfreeze", "stage7", "test_resnet", "stage4", "layer4", "head", "all"):
        classification("0:head,1:stage7").check_fit()
    with refuses(ConfigError, "model.unfreeze", "model.frozen"):
        classification(frozen=True).check_fit()
    with refuses(ConfigError, "model.unfreeze", "SimCLR", "--model.weights"):
        SimCLR(backbone="test_resnet", unfreeze="0:head").check_fit()
    with refuses(ConfigError, "model.unfreeze", "0.1", "stage4", "already"):
        classification("0:all,1:stage4@0.1").check_fit()
    for text in ("", "head", "1:head", "0:head;1:all", "0:head,x:all", "0:head@0", "0:head@", "0:head@1.2.3"):
        with refuses(ConfigError, "model.unfreeze", "0:head,2:stage4,4:all", "2:stage4@0.1"):
            read_schedule(text)
    with refuses(ConfigError, "optim.optimizer", "L-BFGS", "model.unfreeze"):
        fit(classification("0:head,1:all@0.1", optim=LBFGS), 1)


def test_a_part_that_would_begin_to_learn_after_the_training_is_named():
    with warnings_of(unfreezing) as said:
        fit(classification("0:head,1:stage4,9:all"), 2)
    assert len(said) == 1
    assert_named(said[0], "model.unfreeze", "9:all", 2)
