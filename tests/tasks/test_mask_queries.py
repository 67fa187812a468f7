"""Mask queries in semantic and instance segmentation: memorizing, settings that they have no use for, exports."""

from functools import partial

import numpy as np
import pytest
import torch

from commands.export.onnx_file import write_onnx
from commands.export.runtime import session_of
from modules.contracts import ConfigError, Features
from modules.contracts.preprocessing import Preprocessing
from modules.decoding.tta import TTA
from modules.export import preprocess_for
from modules.heads import EoMT, QueryMasks, UNet
from modules.losses.segmentation import SegmentationLoss
from modules.necks import FPN, NoNeck
from modules.training.optim import Optim
from modules.training.whole_network import Start, load_network
from tasks import InstanceSegmentation, SemanticSegmentation
from tests.helpers.errors import refuses
from tests.helpers.training import quiet
from tests.tasks.test_semantic_segmentation import Images, make_images

SMALL = partial(QueryMasks, queries=8, width=32, layers=2)
ONE_LAYER = partial(SMALL, layers=1)  # tracing takes a second for every thirty operations


def semantic(**settings) -> SemanticSegmentation:
    return SemanticSegmentation(**{"backbone": "test_resnet", "classes": ["a", "b", "c"], "head": SMALL} | settings)


def instance(**settings) -> InstanceSegmentation:
    parts = {"backbone": "test_resnet", "classes": ["a", "b"], "neck": NoNeck, "head": SMALL}
    return InstanceSegmentation(**parts | settings)


@pytest.mark.parametrize("settings", [{}, {"backbone": "test_vit"}, {"neck": partial(FPN, channels=16)}], ids=str)
def test_semantic_answers_have_the_size_of_the_image(settings):
    model = semantic(**settings).eval()
    assert model(torch.randn(1, 3, 37, 53)).shape == (1, 3, 37, 53)


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_a_handful_of_semantic_maps_is_memorized(precision):
    model = semantic(optim=Optim(lr=0.005, warmup=0, schedule="cosine"), head=partial(SMALL, mask_stride=2))
    once = quiet(max_epochs=60, precision=precision, gradient_clip_val=1.0, check_val_every_n_epoch=60)
    once.fit(model, datamodule=Images(make_images()))
    assert once.callback_metrics["val/miou"] > 0.85
    assert not model.head.net.masking.probability.any()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"loss": SegmentationLoss({"dice": 1.0})}, ("model.loss", "QueryMasks", "cross_entropy: 1")),
        ({"patch_size": 32}, ("model.patch_size", "QueryMasks")),
        ({"aux_loss_weight": 0.4}, ("model.aux_loss_weight", "QueryMasks")),
    ],
)
def test_settings_of_dense_heads_are_refused(settings, names):
    with refuses(ConfigError, *names):
        semantic(**settings)


def test_the_loss_of_evaluation_is_said_to_be_another():
    model = semantic()
    assert model.chance_loss() is None and "set loss" in model.protocols["loss"]
    assert "as in training" in semantic(head=UNet).protocols["loss"]


def test_a_factory_of_another_kind_is_refused_with_the_heads_of_both_bases():
    for build in (semantic, instance):
        with refuses(ConfigError, "model.head", "MaskQueryHead", "QueryMasks"):
            build(head=lambda features, outputs: torch.nn.Identity())


def test_an_exported_semantic_file_answers_as_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    model = semantic(probabilities=True, tta=TTA(flip=True), head=ONE_LAYER).eval()
    (graph,) = model.graphs(preprocess_for(Preprocessing("letterbox", (64, 96)))).values()
    write_onnx(graph, tmp_path / "model.onnx", {}, "segmenter")
    session = session_of(tmp_path / "model.onnx", 1)
    for size in ((90, 120), (64, 64)):
        image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
        theirs = session.run(["probabilities"], {"image": image})[0]
        with torch.inference_mode():
            pixels, geometry = graph.module.preprocess(torch.from_numpy(image))
            ours = graph.module.network(graph.module.normalize(pixels), geometry)[1]
        np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_exported_instances_are_those_of_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = instance(head=ONE_LAYER).eval()
    with torch.no_grad():
        model.head.net.answer.mask[-1].weight.mul_(20)  # masks with borders
    (graph,) = model.graphs(preprocess_for(Preprocessing("letterbox", (64, 96)))).values()
    assert graph.settings == {"exact_masks": True}
    write_onnx(graph, tmp_path / "model.onnx", {}, "finder")
    session = session_of(tmp_path / "model.onnx", 1)
    for size in ((90, 120), (64, 40)):
        batch = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
        theirs = dict(zip(graph.outputs, session.run(list(graph.outputs), {"image": batch}), strict=True))
        with torch.inference_mode():
            pixels, geometry = graph.module.preprocess(torch.from_numpy(batch))
            inside = geometry.inside.long().expand(2, 2)
            ours = model(graph.module.normalize(pixels), inside)
            ours = [one | model.original(one, inside[0], torch.tensor(size)) for one in ours]
        assert theirs["count"].tolist() == [len(one["scores"]) for one in ours] and theirs["count"].min() > 0
        for image, one in enumerate(ours):
            for key in ("boxes", "scores", "labels", "mask_probabilities"):
                np.testing.assert_allclose(theirs[key][image, : len(one["scores"])], one[key], atol=2e-3, err_msg=key)


def test_a_head_for_instances_leaves_anchors_alone():
    model = instance()
    assert model.head.anchors is None and model.head.selection.detections == 100
    with refuses(ConfigError, "QueryMasks", "no anchors"):
        model.head.fit_anchors(np.ones((2, 2)))


def test_features_of_the_neck_are_those_of_the_head():
    assert isinstance(instance(neck=None).neck.features, Features)


def test_classes_of_an_earlier_run_are_kept_by_name():
    before, after = semantic(), semantic(classes=["c", "new", "a"])
    line = load_network(
        after, Start(before.state_dict(), ["a", "b", "c"], "a run"), ["c", "new", "a"], after.remake_head
    )
    rows = [model.head.net.answer.classes.weight for model in (before, after)]
    assert torch.equal(rows[0][[0, 3, 1]], rows[1][[0, 1, 3]]) and not torch.equal(rows[0][2], rows[1][2])
    assert torch.equal(before.head.net.content, after.head.net.content) and "new" in line


def eomt(**settings) -> SemanticSegmentation:
    return semantic(**{"backbone": "test_vit", "head": partial(EoMT, queries=8, blocks=2)} | settings)


def test_queries_join_the_last_blocks_of_a_vit():
    model, image = eomt().eval(), torch.randn(2, 3, 64, 96)
    net, head = model.backbone.net, model.head.net
    tokens = model.backbone.net.forward_features(image)
    seen = []
    for block in net.blocks:
        block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0].shape[1]))
    head.set_progress(1.0)
    answers = model.head(image, model._maps)[0]
    assert seen == [tokens.shape[1]] * (len(net.blocks) - 2) + [tokens.shape[1] + 8] * 2
    assert answers.masks.shape == (2, 8, 16, 24)
    assert not any("blocks" in name for name in head.state_dict())


def test_what_queries_do_not_see_is_blocked_in_the_vit():
    model, image = eomt(head=partial(EoMT, queries=2, blocks=1)).eval(), torch.randn(1, 3, 64, 64)
    head = model.head.net
    x, masks = torch.zeros(1, 2 + 1 + 16, 64), torch.full((1, 2, 16, 16), -1.0)
    masks[0, 0, :4, :4] = 1.0
    mask = head._attention_mask(0, masks, x, (4, 4))[0, 0]
    assert torch.isinf(mask[0]).nonzero()[:, 0].tolist() == [*range(4, 19)]  # all cells but the first
    assert not mask[1:].any()  # a query of an empty mask, and tokens, see all
    assert model(image).isfinite().all()


def test_a_vit_with_queries_memorizes_a_handful_and_trains_all_of_itself():
    model = eomt(optim=Optim(lr=0.003, warmup=0, schedule="cosine"))
    before = {name: value.clone() for name, value in model.named_parameters()}
    once = quiet(max_epochs=60, gradient_clip_val=1.0, check_val_every_n_epoch=60)
    once.fit(model, datamodule=Images(make_images(height=64, width=64)))
    assert once.callback_metrics["val/miou"] > 0.7
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"backbone": "test_resnet"}, ("EoMT", "test_resnet", "vit_tiny_patch16_224")),
        ({"neck": partial(FPN, channels=16)}, ("EoMT", "model.neck", "NoNeck")),
        ({"head": partial(EoMT, blocks=7)}, ("head.blocks", 7, 6)),
    ],
)
def test_networks_that_are_no_plain_vit_are_refused(settings, names):
    with refuses(ConfigError, *names):
        eomt(**settings)


def test_instances_by_a_vit_need_no_neck():
    model = instance(backbone="test_vit", head=partial(EoMT, queries=4, blocks=2)).eval()
    found = model(torch.randn(1, 3, 64, 64), torch.tensor([[64, 64]]))
    assert {"boxes", "mask_probabilities"} <= found[0].keys()
    with refuses(ConfigError, "EoMT", "NoNeck"):
        instance(backbone="test_vit", head=partial(EoMT, queries=4, blocks=2), neck=None)
