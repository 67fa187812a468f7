"""Low-rank adaptation of backbones (`--model.lora.rank`)."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from modules.backbones import by_name
from modules.backbones.fold_batchnorm import folded
from modules.backbones.lora import LoRA, adapted, add_adapters, merged, norm_layers
from modules.contracts import Backbone, ConfigError, DataError
from modules.training.optim import Optim
from modules.training.transfer import export_backbone, export_lora, load_backbone
from tasks import Classification, MoCo, vision
from tests.helpers.errors import assert_named, refuses, warnings_of
from tests.helpers.training import quiet

CLASSES = ["cat", "dog", "cow"]
NETWORKS = ["test_vit", "test_resnet", "test_efficientnet"]


def classification(lora: LoRA, **settings) -> Classification:
    torch.manual_seed(0)
    return Classification(**{"classes": CLASSES, "backbone": "test_vit", "lora": lora} | settings)


def batches(count: int = 4) -> DataLoader:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 6, 3, 32, 32), dtype=torch.uint8, generator=random)
    made = [{"image": one, "label": torch.arange(6) % 3, "id": list("abcdef")} for one in images]
    return DataLoader(made, batch_size=None, collate_fn=dict)


def trained(backbone: Backbone) -> Backbone:
    """As after a training: no adapter is 0."""
    for layer in adapted(backbone.net).values():
        nn.init.normal_(layer.lora.up, std=0.05)
    return backbone.eval()


@torch.no_grad()
def pooled(backbone: Backbone) -> torch.Tensor:
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return backbone.pool(backbone.eval()(image))


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_adapters_head_and_chosen_norms_alone_are_trained(name, norms):
    task = classification(LoRA(4, norms=norms), backbone=name)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    torch.testing.assert_close(pooled(task.backbone), pooled(merged(task.backbone)), rtol=0, atol=0)  # 0 at first
    quiet(max_epochs=1).fit(task, batches())
    moved = {key for key, value in task.state_dict().items() if not torch.equal(value, before[key])}
    inside = {key for key in moved if key.startswith("backbone.") and ".lora." not in key}
    norms_of = {id(p) for layer in norm_layers(task.backbone.net) for p in layer.state_dict(keep_vars=True).values()}
    own = task.state_dict(keep_vars=True)
    assert {"head.fc.weight", "head.fc.bias"} <= moved
    assert any(key.endswith("lora.up") for key in moved)
    assert all(id(own[key]) in norms_of for key in inside)
    assert bool(inside) == norms


@pytest.mark.parametrize("name", NETWORKS)
def test_merged_weights_give_the_same_outputs(name):
    backbone = by_name(name)
    add_adapters(backbone, LoRA(4))
    plain = merged(trained(backbone))
    assert plain.net.state_dict().keys() == by_name(name).net.state_dict().keys()
    expected = pooled(backbone)
    torch.testing.assert_close(pooled(plain), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pooled(folded(backbone)), expected, rtol=1e-3, atol=1e-4)


def test_a_convolution_with_stride_and_padding_is_that_of_the_summed_weights():
    backbone = by_name("test_resnet")
    add_adapters(backbone, LoRA(4, alpha=2))
    backbone.double()
    layers = adapted(trained(backbone).net).values()
    layer = next(one for one in layers if isinstance(one, nn.Conv2d) and one.stride[0] > 1 and one.padding[0])
    image = torch.randn(2, layer.in_channels, 9, 9, dtype=torch.float64)
    change = 2 / 4 * torch.einsum("or,rihw->oihw", layer.lora.up, layer.lora.down)
    weight = layer.weight + change
    expected = nn.functional.conv2d(image, weight, layer.bias, layer.stride, layer.padding)
    torch.testing.assert_close(layer(image), expected)


def test_outputs_and_gradients_are_those_of_peft():
    peft = pytest.importorskip("peft")
    backbone, plain = by_name("test_vit"), by_name("test_vit")
    plain.load_state_dict(backbone.state_dict())
    add_adapters(backbone, LoRA(4, alpha=8, layers="attn|mlp", norms=False))
    trained(backbone)
    names = list(adapted(backbone.net))
    theirs = peft.get_peft_model(plain.net, peft.LoraConfig(r=4, lora_alpha=8, target_modules=names)).eval()
    places = {name: theirs.get_submodule(f"base_model.model.{name}") for name in names}
    for name, layer in adapted(backbone.net).items():
        places[name].lora_A["default"].weight.data.copy_(layer.lora.down)
        places[name].lora_B["default"].weight.data.copy_(layer.lora.up)
    image = torch.randn(2, 3, 64, 64)
    found, expected = backbone.pool(backbone(image)), plain.pool(plain(image))
    torch.testing.assert_close(found, expected)
    (found.square().sum() + expected.square().sum()).backward()
    for name, layer in adapted(backbone.net).items():
        torch.testing.assert_close(layer.lora.down.grad, places[name].lora_A["default"].weight.grad)
        torch.testing.assert_close(layer.lora.up.grad, places[name].lora_B["default"].weight.grad)
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == count


def test_exports_and_checkpoints_give_the_merged_weights(tmp_path):
    start, other = tmp_path / "start.safetensors", by_name("test_resnet")
    export_backbone(by_name("test_resnet"), start)
    task = classification(LoRA(4), backbone="test_resnet", weights=str(start))
    (trainer := quiet(max_epochs=1)).fit(task, batches())
    expected = pooled(task.backbone)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    export_backbone(task.backbone, tmp_path / "backbone.safetensors")
    own = [name for name, p in task.backbone.net.named_parameters() if p.requires_grad]
    export_lora(task.backbone, tmp_path / "lora.safetensors", own, str(start), 4.0)
    for name in ("last.ckpt", "backbone.safetensors", "lora.safetensors"):
        load_backbone(backbone := by_name("test_resnet"), str(tmp_path / name))
        torch.testing.assert_close(pooled(backbone), expected, rtol=1e-4, atol=1e-5)
    loaded = Classification.load_from_checkpoint(tmp_path / "last.ckpt")
    torch.testing.assert_close(pooled(loaded.backbone), expected, rtol=0, atol=0)
    export_backbone(other, start)
    with refuses(DataError, "lora.safetensors", start):
        load_backbone(by_name("test_resnet"), str(tmp_path / "lora.safetensors"))


@pytest.mark.parametrize("run", ["test", "validate", "predict"])
def test_adapters_are_merged_while_a_run_predicts_and_put_back_for_training(run, monkeypatch):
    task, seen = classification(LoRA(4)), []
    trained(task.backbone)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    normalized = Classification.normalized

    def watched(self: Classification, image: torch.Tensor) -> torch.Tensor:
        seen.append(adapted(self.backbone.net))
        return normalized(self, image)

    monkeypatch.setattr(Classification, "normalized", watched)
    getattr(quiet(), run)(task, batches(1), **({} if run == "predict" else {"verbose": False}))
    assert seen == [{}] and adapted(task.backbone.net)
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())


def test_a_resumed_training_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path):
    def fit(epochs: int, path: Path | None = None) -> Classification:
        optim = Optim(lr=1e-3, schedule="constant", layer_decay=0.7)
        task = classification(LoRA(4), unfreeze="0:head,1:blocks,2:all", optim=optim)
        trainer = quiet(max_epochs=epochs)
        trainer.fit(task, batches(2), ckpt_path=path, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return task

    expected = fit(3).state_dict()
    fit(2)
    found = fit(3, tmp_path / "2.ckpt").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


def test_a_network_for_clips_alone_is_refused_with_another_remedy_than_the_rank():
    with refuses(ConfigError, "model.lora.rank", "r3d_18", "--model.backbone"):
        add_adapters(by_name("r3d_18"), LoRA(1))


def test_a_momentum_encoder_follows_the_adapters():
    torch.manual_seed(0)
    task = MoCo(backbone="test_vit", queue_size=16, lora=LoRA(4, dropout=0.5))
    assert adapted(task.exported.net).keys() == adapted(task.backbone.net).keys()
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(task.train().teacher(image), task.teacher(image), rtol=0, atol=0)  # nothing is dropped


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"lora": LoRA(4, layers="no_such")}, ["model.lora.layers", "no_such", "test_vit"]),
        ({"lora": LoRA(4096)}, ["model.lora.rank", "4096", "test_vit"]),
        ({"lora": LoRA(99, layers="attn")}, ["model.lora.rank", "99", "64", "blocks.0.attn.qkv"]),
        ({"lora": LoRA(4), "frozen": True}, ["model.lora.rank", "model.frozen"]),
        ({"lora": LoRA(4), "init": "gaussian"}, ["model.lora.rank", "model.init"]),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, names):
    with refuses(ConfigError, *names):
        Classification(**{"classes": CLASSES, "backbone": "test_vit"} | settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"rank": -1}, "rank"), ({"alpha": 0}, "alpha"), ({"dropout": 2}, "dropout"), ({"layers": "("}, "layers")],
)
def test_values_out_of_range_are_refused(settings, name):
    with refuses(ConfigError, f"model.lora.{name}"):
        LoRA(**settings)


@pytest.mark.parametrize("given", [True, False])
def test_adapters_of_random_weights_are_warned_of(given, tmp_path):
    file = tmp_path / "backbone.safetensors"
    export_backbone(by_name("test_vit"), file)
    task = classification(LoRA(2), weights=str(file) if given else None)
    with warnings_of(vision) as said:
        quiet(max_epochs=1, limit_train_batches=1).fit(task, batches(1))
    assert len(said) == (not given)
    for sentence in said:
        assert_named(sentence, "model.lora.rank", 2, "--model.weights")
