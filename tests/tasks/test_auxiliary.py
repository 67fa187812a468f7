"""Auxiliary classifiers: part of the task, used in training only."""

import copy
from pathlib import Path

import lightning as L
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from modules.backbones import by_name
from modules.backbones.auxiliary import InceptionAuxiliary, auxiliaries
from modules.contracts import ConfigError
from modules.training.optim import Optim
from modules.training.transfer import export_backbone, load_backbone
from tasks import Classification
from tests.helpers.errors import refuses

CLASSES = ["cat", "dog", "bird"]


def task(aux_loss_weight: float = 0.3, **options) -> Classification:
    options = {"backbone": "inception_v1", "optim": Optim(lr=1e-3)} | options
    return Classification(classes=CLASSES, aux_loss_weight=aux_loss_weight, **options)


def batch(count: int = 3) -> dict[str, Tensor]:
    return {"image": torch.rand(count, 3, 64, 64), "label": torch.arange(count) % 3}


def without_dropout(module: Classification) -> Classification:
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return module


def test_their_losses_are_added_in_training():
    trained, images = without_dropout(task()), batch()
    trained.log_step = lambda *_: None
    maps = {}
    for point in (3, 4):
        trained.backbone.net.stages[point].register_forward_hook(lambda m, i, x, point=point: maps.update({point: x}))
    loss = trained.training_step(images, 0)

    def classified(auxiliary: nn.Module, x: Tensor) -> Tensor:
        x = auxiliary.hidden(functional.adaptive_avg_pool2d(auxiliary.conv(x), 4))
        return functional.cross_entropy(auxiliary.fc(x.flatten(1)), images["label"])

    assert [m.shape[1:] for m in maps.values()] == [(512, 4, 4), (528, 4, 4)]
    extra = sum(classified(a, maps[p]) for a, p in zip(trained.auxiliaries, maps, strict=True))
    plain = functional.cross_entropy(trained(images["image"]), images["label"])
    torch.testing.assert_close(loss, plain + 0.3 * extra)


def test_their_gradient_reaches_the_layers_below_and_none_above():
    trained = task()
    trained(batch()["image"])
    sum(auxiliary().sum() for auxiliary in trained.auxiliaries).backward()
    reached = [any(p.grad is not None for p in stage.parameters()) for stage in trained.backbone.net.stages]
    assert reached == [True] * 5 + [False] * 2


def test_maps_of_14_cells_are_pooled_as_published():
    auxiliary = without_dropout(task()).auxiliaries[0]
    auxiliary.map = x = torch.rand(2, 512, 14, 14)
    pooled = auxiliary.hidden(auxiliary.conv(functional.avg_pool2d(x, 5, 3)))
    assert pooled.shape[-2:] == (1, 1)
    torch.testing.assert_close(auxiliary(), auxiliary.fc(pooled.flatten(1)))


def test_they_keep_no_map_in_evaluation_and_none_behind_a_step():
    trained = task()
    trained.log_step = lambda *_: None
    trained.training_step(batch(), 0)
    assert all(a.map is None for a in trained.auxiliaries)
    trained.eval()(batch()["image"])
    assert all(a.map is None for a in trained.auxiliaries)


def test_evaluation_does_not_run_them():
    trained, ran = task(), []
    for auxiliary in trained.auxiliaries:
        auxiliary.conv.register_forward_hook(lambda *_: ran.append(True))
    trained.eval()
    plain = task(aux_loss_weight=0.0).eval()
    plain.load_state_dict(trained.state_dict(), strict=False)
    image = batch()["image"]
    assert torch.equal(trained(image), plain(image))
    assert not ran


def test_an_exported_backbone_knows_nothing_of_them(tmp_path):
    path, trained = tmp_path / "backbone.safetensors", task()
    export_backbone(trained.backbone, path)
    assert "114/114" in load_backbone(by_name("inception_v1"), str(path))
    timm.create_model("inception_v1", num_classes=0, checkpoint_path=path)


def test_a_copy_watches_itself():
    """Copy of the task, as for an average of its weights."""
    trained = task()
    twin = copy.deepcopy(trained)
    twin(batch()["image"])
    assert all(a.map is None for a in trained.auxiliaries)
    assert all(a.map is not None for a in twin.auxiliaries)


def test_compiled_they_get_the_same_gradients():
    plain = without_dropout(task())
    compiled = copy.deepcopy(plain)
    compiled.backbone.compile(backend="aot_eager")
    images, gradients = batch(), []
    for module in (plain, compiled):
        module.log_step = lambda *_: None
        module.training_step(images, 0).backward()
        gradients.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)
    assert len(gradients[0]) == len(list(plain.parameters()))


def test_a_resumed_run_ends_like_one_that_was_never_stopped(tmp_path):
    def fit(steps: int, resumed: Path | None = None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        optim = Optim(lr=1e-3, schedule="constant", warmup=0)
        trained = without_dropout(task(optim=optim))
        trainer = L.Trainer(max_steps=steps, accelerator="cpu", devices=1, default_root_dir=tmp_path, **quiet)
        trainer.fit(trained, DataLoader([same] * 4, batch_size=None, collate_fn=dict), ckpt_path=resumed)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return trained.state_dict()

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    same = {"image": torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8), "label": torch.arange(3)}
    whole = fit(4)
    fit(2)
    resumed = fit(4, tmp_path / "2.ckpt")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert len(Classification.load_from_checkpoint(tmp_path / "4.ckpt").auxiliaries) == 2


# Other networks, and levels of any ------------------------------------------------------------------------------------


def test_googlenets_are_those_of_torchvision():
    published = without_dropout(torchvision.models.googlenet(aux_logits=True, init_weights=False, num_classes=3))
    trained = without_dropout(task(backbone="googlenet"))
    trained.backbone.net.load_state_dict(published.state_dict(), strict=False)
    for own, theirs in zip(trained.auxiliaries, (published.aux1, published.aux2), strict=True):
        own.classifier.load_state_dict(theirs.state_dict())
    image = batch()["image"]
    expected = published(image)
    trained.backbone(image)
    first, second = (auxiliary() for auxiliary in trained.auxiliaries)
    torch.testing.assert_close(first, expected.aux_logits1, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second, expected.aux_logits2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["inception_v3", "torchvision/inception_v3"])
def test_inception_v3s_is_on_its_last_map_of_stride_16(name):
    with torch.device("meta"):
        backbone = by_name(name)
        (auxiliary,) = auxiliaries(backbone, 3)
        maps = backbone(torch.empty(2, 3, 299, 299))
        assert auxiliary.map is maps[3] and maps[3].shape[1:] == (768, 17, 17)
        assert auxiliary().shape == (2, 3)


def test_inception_v3s_is_that_of_torchvision_and_enlarges_small_maps():
    own, published = InceptionAuxiliary(nn.Identity(), 768, 3), torchvision.models.inception.InceptionAux(768, 3)
    published.load_state_dict(own.classifier.state_dict())
    x = torch.rand(2, 768, 17, 17)
    torch.testing.assert_close(own.logits(x), published(x))
    assert own.logits(x[..., :4, :4]).shape == (2, 3)


@pytest.mark.parametrize("name", ["densenet121", "torchvision/densenet121"])
def test_a_densenets_follow_all_dense_blocks_but_the_last(name):
    with torch.device("meta"):
        found = auxiliaries(backbone := by_name(name), 3)
        backbone(torch.empty(2, 3, 64, 64))
    assert [each.map.shape[1:] for each in found] == [(256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    assert [each.fc.in_features for each in found] == [256, 512, 1024]


def test_levels_of_any_network_are_classified_by_their_mean():
    trained, images = task(0.5, backbone="test_resnet", aux_levels=[3, 1]), batch()
    trained.log_step = lambda *_: None
    maps = trained.backbone(images["image"])
    expected = functional.cross_entropy(trained.answer(trained.head, images["image"]), images["label"])
    for level, auxiliary in zip((3, 1), trained.auxiliaries, strict=True):
        cells = functional.batch_norm(maps[level], None, None, training=True).relu().mean((-2, -1))
        expected = expected + 0.5 * functional.cross_entropy(auxiliary.fc(cells), images["label"])
    torch.testing.assert_close(trained.training_step(images, 0), expected)
    assert all(auxiliary.map is None for auxiliary in trained.auxiliaries)


# The network alone ---------------------------------------------------------------------------------------------------


def test_the_network_alone_gives_their_logits_in_training():
    net, image = timm.create_model("inception_v1", num_classes=5, auxiliary=True), batch()["image"]
    logits, others = net(image)
    assert logits.shape == (3, 5)
    assert [x.shape for x in others] == [(3, 5), (3, 5)]
    assert net.eval()(image).shape == (3, 5)


def test_they_follow_the_classes_and_go_with_the_head():
    net, image = timm.create_model("inception_v1", num_classes=5, auxiliary=True), batch()["image"]
    net.reset_classifier(7)
    assert [x.shape for x in net(image)[1]] == [(3, 7), (3, 7)]
    watching = list(net.auxiliaries)
    net.reset_classifier(0)
    assert net(image).shape == (3, 1024)
    assert all(a.map is None for a in watching)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"backbone": "test_resnet"}, ("test_resnet", "model.aux_loss_weight", "model.aux_levels", "inception_v1")),
        ({"backbone": "test_resnet", "aux_levels": [5]}, ("test_resnet", "model.aux_levels", "5", "4")),
        ({"backbone": "test_resnet", "aux_levels": [1, 1]}, ("model.aux_levels",)),
        ({"aux_levels": [1], "aux_loss_weight": 0.0}, ("model.aux_levels", "model.aux_loss_weight")),
        ({"frozen": True}, ("frozen", "aux_loss_weight")),
    ],
)
def test_a_backbone_without_them_or_that_does_not_learn_is_refused(settings, names):
    with refuses(ConfigError, *names):
        task(**settings)
