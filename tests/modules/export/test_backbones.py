"""Backbones of different families export and agree with PyTorch."""

import numpy as np
import pytest
import torch

from commands.export.onnx_file import write_onnx
from commands.export.runtime import session_of
from modules.contracts.preprocessing import Preprocessing
from modules.export import preprocess_for
from tasks import Classification

pytestmark = [pytest.mark.slow, pytest.mark.integration]

FAMILIES = """alexnet cait_xxs24_224 coatnet_nano_rw_224 convnext_atto convnextv2_atto crossvit_tiny_240 cspdarknet53
darknet17 deit_tiny_patch16_224 densenet121 dla34 dpn48b eca_nfnet_l0 edgenext_xx_small efficientformer_l1
efficientnet_b0 efficientvit_b0 ese_vovnet19b_dw eva02_tiny_patch14_224 fastvit_t8 fbnetc_100 ghostnet_050 googlenet
hardcorenas_a hrnet_w18_small inception_v3 lcnet_050 levit_128s mixer_s32_224 mnasnet_small mobilenetv2_050
mobilenetv3_small_050 mobilenetv4_conv_small_050 mobilevit_xxs poolformer_s12 pvt_v2_b0 regnetx_002 repvgg_a0
res2net50_26w_4s resnest14d resnet18 rexnet_100 selecsls42b skresnet18 squeezenet1_1 swin_tiny_patch4_window7_224
swinv2_tiny_window8_256 test_vit tiny_vit_5m_224 vgg11 vit_tiny_patch16_224 xception41""".split()


CHANGED = [
    ("test_resnet", {"activation": "softsign", "pooling": "fractional"}),
    ("test_resnet", {"activation": "maxout", "drop_block": 0.1}),
    ("test_convnext", {"activation": "maxout"}),
]


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in FAMILIES), *CHANGED])
def test_a_backbone_answers_alike_in_onnxruntime(name, settings, tmp_path):
    torch.manual_seed(0)
    task = Classification(classes=list("abcd"), backbone=name, **settings).eval()
    side = task.backbone.config.get("input_size", (3, 224, 224))[1]
    graph = task.graphs(preprocess_for(Preprocessing("center_crop", (side, side))))["model"]
    write_onnx(graph, tmp_path / "model.onnx", {}, name)
    session = session_of(tmp_path / "model.onnx", 1)
    image = np.random.default_rng(0).integers(0, 256, (2, side + 9, side + 40, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = [out.numpy() for out in graph.module(torch.from_numpy(image))]
    label, scores = session.run(["label", "scores"], {"image": image})
    assert np.abs(scores - expected[1]).max() <= 1e-3 * expected[1].max()
    assert np.array_equal(label, expected[0])
