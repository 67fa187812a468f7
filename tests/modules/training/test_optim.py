"""Learning rate and weight decay of every parameter at every step."""

import math
from functools import partial

import pytest
import timm
import torch
from timm.optim import Lars
from torch import nn

from modules.backbones import Timm
from modules.contracts import ConfigError
from modules.heads import Linear
from modules.training.optim import Optim
from tests.helpers.errors import refuses


class Model(nn.Module):
    def __init__(self, name: str = "test_resnet"):
        super().__init__()
        self.backbone = Timm(name)
        self.head = Linear(self.backbone.features, 3)


def settings(optim: Optim, model: nn.Module, steps: int = 100) -> dict[str, dict]:
    """The optimizer's settings for each trainable parameter by name, at the highest learning rate."""
    optimizer, _ = optim.build(model, model.backbone.net, steps)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[p]: group | {"lr": group["initial_lr"]} for p, group in groups.items()}


def rates(optim: Optim, steps: int) -> list[float]:
    """The learning rate of each optimizer step, and the one after the last."""
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer, schedule = optim.build(nn.ParameterList([parameter]), None, steps)
    seen = []
    for _ in range(steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        schedule.step()
    return seen


def test_every_trainable_parameter_is_optimized_exactly_once():
    model = Model("test_efficientnet")
    optimizer, _ = Optim(layer_decay=0.5).build(model, model.backbone.net, 100)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["resnet18", "test_convnext"])
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_norms_and_biases_are_not_decayed(name, layer_decay):
    model = Model(name)
    found = settings(Optim(weight_decay=0.3, layer_decay=layer_decay), model)
    norms = (nn.BatchNorm2d, nn.LayerNorm)
    paths = {path for path, m in model.named_modules() if isinstance(m, norms)}
    plain = {key for key in found if key.rpartition(".")[0] in paths or key.rpartition(".")[2] in ("bias", "gamma")}
    assert {key for key, g in found.items() if g["weight_decay"] == 0} == plain
    assert {g["weight_decay"] for g in found.values()} == {0.0, 0.3}


def test_what_the_model_exempts_is_not_decayed():
    found = settings(Optim(weight_decay=0.3), Model("test_vit"))
    exempt = timm.create_model("test_vit").no_weight_decay()
    assert "pos_embed" in exempt
    for key in exempt & {k.removeprefix("backbone.net.") for k in found}:
        assert found[f"backbone.net.{key}"]["weight_decay"] == 0.0
    assert found["backbone.net.patch_embed.proj.weight"]["weight_decay"] == 0.3


def test_layer_decay_multiplies_from_block_to_block_of_a_resnet():
    found = settings(Optim(lr=1.0, layer_decay=0.5), Model("resnet18"))
    blocks = ["conv1", *[f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)]]
    seen = [found[f"backbone.net.{block}.weight"]["lr"] for block in blocks] + [found["head.fc.weight"]["lr"]]
    assert seen == [0.5 ** (9 - i) for i in range(10)]


def test_layer_decay_rises_from_patches_to_head_of_a_vit():
    found = settings(Optim(lr=1.0, layer_decay=0.5), Model("test_vit"))
    depth = len(timm.create_model("test_vit").blocks)
    names = ["patch_embed.proj.weight", *[f"blocks.{i}.attn.qkv.weight" for i in range(depth)]]
    seen = [found[f"backbone.net.{name}"]["lr"] for name in names] + [found["head.fc.weight"]["lr"]]
    assert seen == [0.5 ** (depth + 1 - i) for i in range(depth + 2)]
    assert found["backbone.net.pos_embed"]["lr"] == seen[0]
    assert found["backbone.net.norm.weight"]["lr"] == seen[-2]


def test_layer_decay_of_one_gives_every_parameter_the_same_rate():
    assert {g["lr"] for g in settings(Optim(lr=0.01), Model()).values()} == {0.01}


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_the_backbone_has_a_rate_of_its_own(layer_decay):
    plain = settings(Optim(lr=0.01, layer_decay=layer_decay), Model())
    found = settings(Optim(lr=0.01, layer_decay=layer_decay, backbone=0.1), Model())
    for name, group in found.items():
        factor = 0.1 if name.startswith("backbone.") else 1
        assert group["lr"] == pytest.approx(factor * plain[name]["lr"])
        assert group["weight_decay"] == plain[name]["weight_decay"]


def test_a_rate_of_the_backbone_is_refused_where_it_says_nothing():
    with refuses(ConfigError, "optim.backbone", 0, "model.frozen"):
        Optim(backbone=0)
    with refuses(ConfigError, "optim.backbone", "layer_decay"):
        Optim(backbone=0.1).build(Model(), None, 10)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("layer_decay", 0.0),
        ("layer_decay", 1.5),
        ("warmup", -1),
        ("lr", -1),
        ("weight_decay", -1),
        ("betas", [0.9, 1]),
        ("optimizer", "SGD"),
    ],
)
def test_impossible_settings_are_refused(setting, value):
    with refuses(ConfigError, setting, value):
        Optim(**{setting: value})


def test_sgd_gets_the_weight_decay_that_was_asked_for():
    found = settings(Optim(torch.optim.SGD, lr=0.1, weight_decay=5e-4), Model())
    assert found["head.fc.weight"]["weight_decay"] == 5e-4
    assert found["head.fc.bias"]["weight_decay"] == 0.0


def test_null_keeps_what_the_optimizer_says():
    own = partial(torch.optim.SGD, lr=0.07, momentum=0.8, weight_decay=0.02)
    found = settings(Optim(own), Model())["head.fc.weight"]
    assert (found["lr"], found["momentum"], found["weight_decay"]) == (0.07, 0.8, 0.02)


def test_null_keeps_the_defaults_of_the_optimizer():
    found = settings(Optim(torch.optim.AdamW), Model())["head.fc.weight"]
    assert (found["lr"], found["weight_decay"]) == (1e-3, 1e-2)


def test_a_frozen_backbone_is_not_optimized():
    model = Model()
    model.backbone.requires_grad_(False)
    for decay in (1.0, 0.5):
        assert set(settings(Optim(layer_decay=decay), model)) == {"head.fc.weight", "head.fc.bias"}


def test_everything_frozen_is_refused():
    with refuses(ConfigError, "model.frozen"):
        Optim().build(Model().requires_grad_(False), None, 10)


@pytest.mark.parametrize(("warmup", "count"), [(0.1, 20), (8, 8), (0, 0)])
def test_warmup_is_a_fraction_of_all_steps_or_a_count(warmup, count):
    seen = rates(Optim(lr=0.5, schedule="constant", warmup=warmup), 200)
    assert seen == pytest.approx([0.5 * min(1, (i + 1) / count) if count else 0.5 for i in range(201)])


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_falls_from_the_highest_rate_to_the_final_one(final):
    seen = rates(Optim(lr=2.0, schedule="cosine", warmup=10, final=final), 110)
    assert seen[10] == 2.0
    assert seen[60] == pytest.approx(2.0 * (1 + final) / 2)
    assert seen[35] == pytest.approx(2.0 * (final + (1 - final) * (1 + math.sqrt(0.5)) / 2))
    assert seen[110] == pytest.approx(2.0 * final, abs=1e-12)


def test_cosine_equals_torchs():
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.03)
    expected = []
    for _ in range(51):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(Optim(torch.optim.SGD, lr=0.3, warmup=0, final=0.1), 50) == pytest.approx(expected, abs=1e-9)


def test_linear_falls_in_a_straight_line():
    seen = rates(Optim(lr=1.0, schedule="linear", warmup=0, final=0.2), 40)
    assert seen == pytest.approx([1 - 0.8 * i / 40 for i in range(41)])


def test_step_divides_by_ten_at_60_and_85_percent():
    seen = rates(Optim(lr=1.0, schedule="step", warmup=0), 100)
    assert [seen[i] for i in (0, 59, 60, 84, 85, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_inverse_sqrt_is_that_of_the_transformer_paper():
    seen = rates(Optim(lr=1.0, schedule="inverse_sqrt", warmup=16), 400)
    peak = 16**-0.5
    assert seen[:400] == pytest.approx([min(step**-0.5, step * 16**-1.5) / peak for step in range(1, 401)])


def test_layers_keep_their_ratio_along_the_schedule():
    model = Model("resnet18")
    optimizer, schedule = Optim(torch.optim.SGD, lr=1.0, warmup=4, layer_decay=0.5).build(model, model.backbone.net, 20)
    ratios = set()
    for _ in range(19):
        now = sorted(group["lr"] for group in optimizer.param_groups)
        ratios.add(round(now[0] / now[-1], 9))
        optimizer.step()
        schedule.step()
    assert ratios == {round(0.5**9, 9)}


def test_the_learning_rate_scales_with_the_effective_batch_on_request():
    for scale, expected in ((False, 0.1), (True, 0.4)):
        optim = Optim(torch.optim.SGD, lr=0.1, scale_lr=scale)
        optimizer, _ = optim.build(nn.ParameterList([nn.Parameter(torch.zeros(2, 2))]), None, 10, batch=1024)
        assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(expected)


def test_lars_adapts_weights_and_leaves_norms_and_biases_alone():
    """You et al. 2017: a weight w moves by lr * coefficient * |w| / (|g| + decay |w|) * (g + decay w)."""
    layer = nn.Linear(3, 2)
    before = [p.detach().clone() for p in layer.parameters()]
    optim = Optim(partial(Lars, trust_coeff=0.02), lr=0.5, weight_decay=0.1, schedule="constant", warmup=0)
    optimizer, _ = optim.build(layer, None, 10)
    for p in layer.parameters():
        p.grad = torch.randn_like(p)
    grads = [p.grad.clone() for p in layer.parameters()]
    optimizer.step()
    (weight, bias), (dw, db) = before, grads
    ratio = 0.02 * weight.norm() / (dw.norm() + 0.1 * weight.norm())
    torch.testing.assert_close(layer.weight, weight - 0.5 * ratio * (dw + 0.1 * weight))
    torch.testing.assert_close(layer.bias, bias - 0.5 * db)


def test_lars_without_weight_decay_would_adapt_nothing_and_is_refused():
    with refuses(ConfigError, "Lars", "optim.weight_decay"):
        Optim(Lars, lr=0.5).build(nn.Linear(3, 2), None, 10)


def test_the_default_adamw_is_fused_and_equals_the_plain_one():
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    gradients = torch.randn(5, 8, 8)
    for layer, optim in zip(layers, (Optim(lr=0.1), Optim(torch.optim.AdamW, lr=0.1)), strict=True):
        optimizer, schedule = optim.build(layer, None, 5)
        assert bool(optimizer.defaults["fused"]) == (optim.optimizer is None)
        for gradient in gradients:
            layer.weight.grad, layer.bias.grad = gradient.clone(), gradient[0].clone()
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(layers[0].weight, layers[1].weight)


def test_a_loaded_state_goes_on_at_its_step_with_the_rates_that_are_asked_for_now():
    layer = nn.Linear(4, 4)
    first, old = Optim(torch.optim.SGD, lr=0.1, warmup=0).build(layer, None, 10)
    for _ in range(5):
        first.step()
        old.step()
    asked = Optim(torch.optim.SGD, lr=0.4, weight_decay=0.2, schedule="linear", warmup=0)
    second, new = asked.build(layer, None, 20)
    second.load_state_dict(first.state_dict())
    new.load_state_dict(old.state_dict())
    assert [group["lr"] for group in second.param_groups] == pytest.approx([0.4 * 15 / 20] * 2)
    assert [group["weight_decay"] for group in second.param_groups] == [0.2, 0]
    second.step()
    new.step()
    assert new.get_last_lr() == pytest.approx([0.4 * 14 / 20] * 2)


def test_the_state_of_another_optimizer_or_of_other_parameters_is_refused():
    layer = nn.Linear(4, 4)
    state = Optim(torch.optim.SGD, lr=0.1).build(layer, None, 10)[0].state_dict()
    with refuses(ConfigError, "SGD", "AdamW", "--model.weights"):
        Optim(lr=0.1).build(layer, None, 10)[0].load_state_dict(state)
    with refuses(ConfigError, "SGD", 2, 4, "--model.weights"):
        wider = nn.Sequential(layer, nn.Linear(4, 4))
        Optim(torch.optim.SGD, lr=0.1).build(wider, None, 10)[0].load_state_dict(state)


def test_an_optimizer_without_parameter_groups_has_one_rate():
    model = Model()
    optimizer, _ = Optim(torch.optim.LBFGS, lr=0.5).build(model, None, 10)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] and group["initial_lr"] == 0.5
    with refuses(ConfigError, "optim.optimizer", "layer_decay", "backbone"):
        Optim(torch.optim.LBFGS, backbone=0.1).build(model, model.backbone.net, 10)


def test_a_rate_that_is_set_keeps_the_proportions_and_the_schedule():
    model = Model()
    _, schedule = Optim(lr=0.1, backbone=0.5, warmup=0, schedule="constant").build(model, model.backbone.net, 10)
    schedule.set_lr(0.01)
    assert {group["lr"] for group in schedule.optimizer.param_groups} == {0.01, 0.005}


def test_a_group_that_joins_later_keeps_its_rate_and_follows_the_schedule():
    first, second = (nn.Parameter(torch.zeros(2, 2)) for _ in range(2))
    optimizer, schedule = Optim(lr=0.1, warmup=0, schedule="linear").build(nn.ParameterList([first]), None, 10)
    for step in range(6):
        if step == 2:
            optimizer.add_param_group({"params": [second], "lr": 0.04})
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.04)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.04 * 0.4 / 0.8)
