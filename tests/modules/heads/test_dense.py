"""Heads of semantic segmentation: torchvision's and segmentation_models.pytorch's logits, and any pyramid."""

import math
from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation
from torchvision.models.segmentation.lraspp import LRASPPHead

from modules.backbones import Timm
from modules.contracts import ConfigError, Features
from modules.heads import FCN, LRASPP, DeepLabV3, DeepLabV3Plus, PSPNet, SemanticFPN, UNet
from tests.helpers.errors import refuses

HEADS = [FCN, UNet, DeepLabV3, DeepLabV3Plus, PSPNet, SemanticFPN, LRASPP]
TWO_MAPS = [DeepLabV3Plus, LRASPP]
RESNET = Features([8, 8, 16, 24, 32], [2, 4, 8, 16, 32])
PYRAMIDS = {
    "resnet": RESNET,
    "dilated": Features([8, 8, 16, 24, 32], [2, 4, 8, 8, 8]),
    "small_images": Features([8, 8, 16, 24, 32], [1, 1, 2, 4, 8]),
    "convnext": Features([8, 16, 24, 32], [4, 8, 16, 32]),
    "fpn": Features([16] * 4, [4, 8, 16, 32]),
    "vit": Features([24], [16]),
    "vit14": Features([24], [14]),
}


def maps_of(features: Features, height: int = 64, width: int = 96, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, c, math.ceil(height / s), math.ceil(width / s)) for c, s in zip(*features, strict=True)]


def copy_weights(target: nn.Module, *sources: nn.Module) -> None:
    """Tensor by tensor in the order of definition; shapes must agree."""
    theirs = [tensor for source in sources for tensor in source.state_dict().values()]
    own = target.state_dict()
    assert [t.shape for t in own.values()] == [t.shape for t in theirs]
    target.load_state_dict(dict(zip(own, theirs, strict=True)))


def randomize(net: nn.Module) -> nn.Module:
    """Gives norms statistics and weights that training could have left, so that none is the identity."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor, (low, high) in {m.running_mean: (-0.1, 0.1), m.running_var: (0.8, 1.2)}.items():
                nn.init.uniform_(tensor, low, high)
            nn.init.uniform_(m.weight, 0.8, 1.2)
            nn.init.uniform_(m.bias, -0.1, 0.1)
    return net


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.fixture(scope="module")
def resnet50() -> Timm:
    return Timm("resnet50", output_stride=8).eval()


@pytest.mark.parametrize(
    ("build", "head"), [(segmentation.fcn_resnet50, FCN), (segmentation.deeplabv3_resnet50, DeepLabV3)]
)
def test_logits_are_torchvisions_with_its_weights(resnet50, build, head):
    net = randomize(build(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)).eval()
    resnet50.net.load_state_dict(net.backbone.state_dict())
    size, features = (61, 83), resnet50.features  # maps do not divide evenly
    image = torch.randn(1, 3, *size)
    main = head(features, 5).eval()
    auxiliary = FCN(Features(features.channels[:-1], features.strides[:-1]), 5).eval()
    copy_weights(main, net.classifier)
    copy_weights(auxiliary, net.aux_classifier)
    with torch.no_grad():
        expected, maps = net(image), resnet50(image)
        for ours, key in ((main(maps), "out"), (auxiliary(maps[:-1]), "aux")):
            ours = functional.interpolate(ours, size, mode="bilinear", align_corners=False)
            assert expected[key].std() > 1e-3
            torch.testing.assert_close(ours, expected[key], atol=1e-4, rtol=1e-4)


def test_lraspp_is_torchvisions_head():
    features = Features([16, 24, 40, 112, 960], [2, 4, 8, 16, 16])
    ours, reference, maps = (
        LRASPP(features, 21).eval(),
        randomize(LRASPPHead(40, 960, 21, 128)).eval(),
        maps_of(features),
    )
    order = [reference.cbr, reference.scale, reference.low_classifier, reference.high_classifier]
    copy_weights(ours, *order)
    torch.testing.assert_close(ours(maps), reference({"low": maps[2], "high": maps[4]}), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_unet_on_resnet18_is_that_of_segmentation_models(size):
    reference = randomize(smp.Unet("resnet18", encoder_weights=None, classes=11)).eval()
    backbone = Timm("resnet18").eval()
    head = UNet(backbone.features, 11).eval()
    backbone.net.load_state_dict(reference.encoder.state_dict())
    copy_weights(head, reference.decoder, reference.segmentation_head)
    image = torch.randn(2, 3, *size)
    torch.testing.assert_close(head(backbone(image)), reference(image), atol=1e-5, rtol=1e-4)
    assert parameters(head) == parameters(reference.decoder, reference.segmentation_head)


def test_pspnet_has_as_many_parameters_as_published(resnet50):
    assert parameters(resnet50, PSPNet(resnet50.features, 21)) == 46_592_597


def test_pspnet_joins_a_map_with_its_enlarged_means():
    head, maps = randomize(PSPNet(RESNET, 3, bins=(1, 4))).eval(), maps_of(RESNET, 64, 64)
    x = maps[-1]  # 2 x 2 cells
    whole = head.branches[0](x.mean((2, 3), keepdim=True)).expand(-1, -1, 2, 2)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)  # each of 4 x 4 bins sees the one cell it lies in
    grid = functional.avg_pool2d(head.branches[1](doubled), 2)  # halving bilinearly is the mean of four
    expected = head.classifier(head.refine(torch.cat([x, whole, grid], 1)))
    torch.testing.assert_close(head(maps), expected)


def test_semantic_fpn_has_the_convolutions_of_its_paper():
    head = SemanticFPN(Features([256] * 4, [4, 8, 16, 32]), 19)
    steps = [4, 7]  # of 256 to 128 channels: one per map; in all: 1 + 1 + 2 + 3
    expected = steps[0] * 256 * 128 * 9 + (steps[1] - steps[0]) * 128 * 128 * 9 + steps[1] * 2 * 128 + 129 * 19
    assert parameters(head) == expected


def test_semantic_fpn_adds_maps_after_enlarging_each_twofold_per_step():
    features = Features([16, 16, 16], [4, 8, 16])
    head, maps = SemanticFPN(features, 3).eval(), maps_of(features)

    def enlarged(x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear")

    fine, middle, coarse = head.scales
    total = fine[0](maps[0]) + enlarged(middle[0](maps[1])) + enlarged(coarse[1](enlarged(coarse[0](maps[2]))))
    torch.testing.assert_close(head(maps), head.classifier(total))


@pytest.mark.parametrize(
    ("head", "pyramid"), [(h, p) for h in HEADS for p, f in PYRAMIDS.items() if h not in TWO_MAPS or len(f.strides) > 1]
)
@pytest.mark.parametrize("size", [(64, 96), (37, 53)], ids=["even", "odd"])
def test_every_head_trains_on_any_pyramid_with_a_single_image(head, pyramid, size):
    features = PYRAMIDS[pyramid]
    net, maps = head(features, 5), [m.requires_grad_() for m in maps_of(features, *size, batch=1)]
    logits = net(maps)
    assert logits.shape[:2] == (1, 5)
    assert all(got >= side // max(features.strides) for got, side in zip(logits.shape[-2:], size, strict=True))
    functional.cross_entropy(logits, torch.randint(5, (1, *logits.shape[-2:]))).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert maps[-1].grad.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains_on_one_image_of_one_coarsest_cell(head):
    net = head(RESNET, 5)
    net(maps_of(RESNET, 32, 32, batch=1)).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("head", TWO_MAPS)
def test_a_head_that_needs_a_fine_map_refuses_a_single_one(head):
    with refuses(ConfigError, head.__name__, 16, "resnet18", "DeepLabV3"):
        head(PYRAMIDS["vit"], 5)


@pytest.mark.parametrize(
    ("head", "stride", "used"),
    [
        (FCN, 8, {2, 3, 4}),
        (UNet, 1, {0, 1, 2, 3, 4}),
        (DeepLabV3, 32, {4}),
        (DeepLabV3Plus, 4, {1, 4}),
        (PSPNet, 32, {4}),
        (SemanticFPN, 2, {0, 1, 2, 3, 4}),
        (LRASPP, 8, {2, 4}),
    ],
)
def test_each_head_looks_at_its_maps_and_answers_at_its_stride(head, stride, used):
    net, maps = head(RESNET, 5).eval(), [m.requires_grad_() for m in maps_of(RESNET)]
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)  # FCN's scores of fine maps start at zero
    logits = net(maps)
    assert logits.shape == (2, 5, 64 // stride, 96 // stride)
    logits.square().sum().backward()
    assert {i for i, m in enumerate(maps) if m.grad is not None and m.grad.abs().sum() > 0} == used


@pytest.mark.parametrize("head", HEADS)
def test_at_the_start_all_classes_are_about_equally_likely(head):
    logits = head(RESNET, 11)([m.relu() for m in maps_of(RESNET, 256, 256)])
    loss = -logits.log_softmax(1).mean()  # expected over targets of any class
    assert loss.item() == pytest.approx(math.log(11), abs=0.35)  # logits of variance v: ln 11 + v / 2


@pytest.mark.parametrize("head", [FCN, UNet, DeepLabV3, PSPNet, SemanticFPN])
def test_dropout_sets_features_to_zero_in_training_only(head):
    net, maps = head(RESNET, 5, dropout=1.0), maps_of(RESNET)
    assert net(maps).abs().max() == 0  # biases start at zero
    assert net.eval()(maps).abs().max() > 0


@pytest.mark.parametrize("head", [DeepLabV3Plus, LRASPP])
def test_dropout_of_coarse_features_leaves_the_fine_map_in_training(head):
    net, maps = head(RESNET, 5, dropout=1.0), maps_of(RESNET)
    other = [*maps[:-1], torch.randn_like(maps[-1])]
    torch.testing.assert_close(net(maps), net(other))
    assert not torch.allclose(net.eval()(maps), net.eval()(other))


@pytest.mark.parametrize("kind", ["separable", "deformable"])
@pytest.mark.parametrize("head", [FCN, UNet, DeepLabV3, DeepLabV3Plus, PSPNet, SemanticFPN])
def test_every_kind_of_convolution_trains_in_bfloat16(head, kind):
    net, plain = head(RESNET, 5, convolution=kind), head(RESNET, 5, convolution="plain")
    assert (parameters(net) < parameters(plain)) == (kind == "separable")
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(maps_of(RESNET, 32, 32, batch=1))
    logits.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(("finest", "strides"), [(8, [16, 8]), (16, [16]), (32, []), (1, [16, 8, 4, 2])])
def test_fcn_adds_the_scores_of_maps_down_to_its_finest_stride(finest, strides):
    head, maps = FCN(RESNET, 5, finest=finest).eval(), maps_of(RESNET)
    assert [RESNET.strides[i] for i in head.levels] == strides
    for skip in head.skips:
        nn.init.normal_(skip.weight)
    expected = head.score(maps[-1])
    for stride, skip in zip(strides, head.skips, strict=True):
        finer = maps[RESNET.strides.index(stride)]
        expected = functional.interpolate(expected, finer.shape[-2:], mode="bilinear") + skip(finer)
    torch.testing.assert_close(head(maps), expected)


def test_fcn_starts_from_the_coarsest_scores_alone():
    fcn8, fcn32, maps = FCN(RESNET, 5).eval(), FCN(RESNET, 5, finest=32).eval(), maps_of(RESNET)
    fcn8.score.load_state_dict(fcn32.score.state_dict())
    expected = functional.interpolate(fcn32(maps), scale_factor=2, mode="bilinear")
    expected = functional.interpolate(expected, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(fcn8(maps), expected)


@pytest.mark.parametrize("head", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize(("stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_the_rates_of_deeplab_span_the_same_pixels_at_every_stride(head, stride, rates):
    features = Features([8, 16], [4, stride])
    dilations = [m.dilation[0] for m in head(features, 5).aspp.modules() if isinstance(m, nn.Conv2d)]
    assert [d for d in dilations if d > 1] == rates


def test_deeplab_without_image_pooling_sees_no_further_than_its_rates():
    features, x = Features([8], [8]), torch.randn(1, 8, 9, 9)
    changed = x.clone()
    changed[..., 8, 8] += 100
    for pooling in (True, False):
        head = DeepLabV3(features, 3, rates=[2], image_pooling=pooling).eval()
        assert torch.equal(head([x])[..., 0, 0], head([changed])[..., 0, 0]) != pooling


@pytest.mark.parametrize(
    ("pyramid", "wanted", "level"),
    [("resnet", 4, 1), ("resnet", 16, 3), ("small_images", 1, 1), ("convnext", 2, 0), ("resnet", 64, 3)],
)
def test_the_fine_map_is_the_deepest_of_the_nearest_stride(pyramid, wanted, level):
    assert DeepLabV3Plus(PYRAMIDS[pyramid], 5, low_stride=wanted).level == level


@pytest.mark.parametrize(
    ("pyramid", "widths"),
    [
        ("resnet", [256, 128, 64, 32, 16]),
        ("small_images", [256, 128, 64, 32]),
        ("convnext", [256, 128, 64, 32, 16]),
        ("vit", [256, 128, 64, 32]),
        ("vit14", [256]),
    ],
)
def test_unet_decodes_up_to_the_image_where_strides_allow(pyramid, widths):
    net, features = UNet(PYRAMIDS[pyramid], 5), PYRAMIDS[pyramid]
    assert [step.rest[-1][0].out_channels for step in net.steps] == widths
    assert net(maps_of(features, 64, 64)).shape[-1] == {"vit14": 10}.get(pyramid, 64)


@pytest.mark.parametrize("channels", [[8] * 3, [8] * 6])
def test_unet_refuses_a_number_of_steps_that_does_not_fit(channels):
    with refuses(ConfigError, "head.channels", len(channels), 4, 5):
        UNet(RESNET, 5, channels=channels)


def test_unet_stops_at_the_finest_map_when_told():
    assert UNet(RESNET, 5, channels=[8] * 4)(maps_of(RESNET)).shape == (2, 5, 32, 48)


@pytest.mark.parametrize(
    ("head", "setting", "value"),
    [
        (lambda: DeepLabV3(RESNET, 5, rates=[6, 0]), "head.rates", [6, 0]),
        (lambda: DeepLabV3Plus(RESNET, 5, rates=[-1]), "head.rates", [-1]),
        (lambda: PSPNet(RESNET, 5, bins=(0, 2)), "head.bins", [0, 2]),
        (lambda: PSPNet(RESNET, 5, bins=()), "head.bins", []),
    ],
)
def test_numbers_that_make_no_network_are_refused(head: Callable[[], nn.Module], setting, value):
    with refuses(ConfigError, setting, value):
        head()
