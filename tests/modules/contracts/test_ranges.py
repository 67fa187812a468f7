"""Numbers out of their range, refused where a class takes them."""

import math

import pytest

from callbacks import Checkpoint, Figures
from datamodules import Shapes, ShapesSentences
from modules.backbones import Timm, Torchvision
from modules.contracts import ConfigError, Features, check_range
from modules.heads import FCN, DeepLabV3, FullyConnected, Linear, PSPNet, SemanticFPN, UNet
from modules.text.recurrent import RecurrentDecoder, RecurrentEncoder
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.transformer import TransformerDecoder, TransformerEncoder
from tasks import GAN, Classification, SimCLR
from tests.helpers.errors import refuses

FEATURES = Features([8, 8, 16, 32], [4, 8, 16, 32])


@pytest.mark.parametrize("head", [FCN, DeepLabV3, FullyConnected, Linear, PSPNet, SemanticFPN, UNet])
def test_dropout_of_a_head_is_a_share(head):
    with refuses(ConfigError, "head.dropout", 1.5):
        head(FEATURES, 2, dropout=1.5)


@pytest.mark.parametrize(
    ("part", "section"),
    [
        (lambda **given: TransformerEncoder(9, **given), "encoder"),
        (lambda **given: TransformerDecoder(9, 8, **given), "decoder"),
        (lambda **given: RecurrentEncoder(9, **given), "encoder"),
        (lambda **given: RecurrentDecoder(9, 8, **given), "decoder"),
        (lambda **given: ShowAttendTell(9, 8, **given), "decoder"),
    ],
)
@pytest.mark.parametrize(("name", "value"), [("dropout", 1.5), ("dropout", -0.1), ("width", 0)])
def test_an_encoder_or_decoder_names_what_is_out_of_range(part, section, name, value):
    with refuses(ConfigError, f"{section}.{name}", value):
        part(**{name: value})


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: TransformerEncoder(9, layers=0), "encoder.layers", 0),
        (lambda: RecurrentDecoder(9, 8, layers=0), "decoder.layers", 0),
        (lambda: Linear(FEATURES, 2, label_smoothing=5), "head.label_smoothing", 5),
        (lambda: Timm("test_resnet", drop_path=2), "backbone.drop_path", 2),
        (lambda: Torchvision("convnext_tiny", drop_path=2), "backbone.drop_path", 2),
        (lambda: SimCLR(backbone="test_resnet", drop_path=2), "model.drop_path", 2),
        (lambda: Classification(["a", "b"], backbone="test_resnet", mixup=-1), "model.mixup", -1),
        (lambda: Classification(["a", "b"], backbone="test_resnet", cutmix=-1), "model.cutmix", -1),
        (lambda: Classification(["a", "b"], backbone="test_resnet", aux_loss_weight=-1), "model.aux_loss_weight", -1),
        (lambda: GAN(aux_loss_weight=-1), "model.aux_loss_weight", -1),
        (lambda: GAN(penalty_weight=-1), "model.penalty_weight", -1),
        (lambda: GAN(gradient_clip=-1), "model.gradient_clip", -1),
        (lambda: Shapes(train=-5), "data.train", -5),
        (lambda: ShapesSentences(val=-5), "data.val", -5),
        (lambda: Figures(samples=-1), "figures.samples", -1),
        (lambda: Figures(samples=101), "figures.samples", 101),
        (lambda: Figures(every=-1), "figures.every", -1),
        (lambda: Checkpoint(every_n_steps=-1), "checkpoint.every_n_steps", -1),
    ],
)
def test_a_number_out_of_range_is_named_before_anything_is_built_of_it(make, name, value):
    with refuses(ConfigError, name, value):
        make()


def test_the_ends_of_a_range_are_inside_and_nan_is_not():
    check_range("x", 0, high=1)
    check_range("x", 1, high=1)
    with refuses(ConfigError, "x", "nan"):
        check_range("x", math.nan)
