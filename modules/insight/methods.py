"""Methods of attribution by name, each from a subject to a map per sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modules.contracts import Backbone, ConfigError, suggest
from modules.insight.attention import attention, attention_weights, rollout
from modules.insight.cams import CAMS, cam
from modules.insight.gradients import gradient_x_input, integrated_gradients, saliency, smoothgrad
from modules.insight.perturbation import MASKS, occlusion, rise
from modules.insight.subject import Subject

PARTS = 6
"""Windows of occlusion side by side, where no patch is given."""


@dataclass(frozen=True)
class Options:
    """Settings of the methods.

    Args:
        layer: of class activation maps, by level or name; null chooses.
        patch: side of the window of occlusion in pixels; null is a sixth of the shorter side.
        stride: step of the window; null is half the window.
        masks: random masks of RISE.
        seed: of noise and masks.
    """

    layer: str | None = None
    patch: int | None = None
    stride: int | None = None
    masks: int = MASKS
    seed: int = 0


Method = Callable[[Subject, Options], Tensor]


def _occlusion(subject: Subject, options: Options) -> Tensor:
    """Square windows; of clips a quarter of the frames deep."""
    sides = tuple(subject.space)
    patch = max(1, min(sides[-2:]) // PARTS) if options.patch is None else options.patch
    stride = max(1, patch // 2) if options.stride is None else options.stride
    depth = (max(1, sides[0] // 4),) if len(sides) == 3 else ()
    return occlusion(subject, (*depth, patch, patch), (*depth, stride, stride))


def _by_attention(name: str, find: Callable[[Backbone, Tensor], Tensor | None], subject: Subject, _: Options) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        found = subject.attended() if name == "attention" else None
        if found is None and subject.backbone is not None and len(subject.space) == 2:
            found = find(subject.backbone.eval(), subject.inputs)
    if found is None:
        network = "an exported file" if subject.network is None else type(subject.network).__name__
        what = subject.backbone.name if subject.backbone is not None else network
        decoder = " or of a captioning decoder" if name == "attention" else ""
        raise ConfigError(
            f"--method {name} shows the attention of a vision transformer's class token{decoder}, which {what} lacks: "
            f"choose another, such as occlusion"
        )
    return found


METHODS: dict[str, Method] = {
    "saliency": lambda subject, options: saliency(subject),
    "gradient_x_input": lambda subject, options: gradient_x_input(subject).sum(1),
    "smoothgrad": lambda subject, options: smoothgrad(subject, seed=options.seed),
    "integrated_gradients": lambda subject, options: integrated_gradients(subject).sum(1),
    **{name: lambda subject, options, how=how: cam(subject, how, options.layer) for name, how in CAMS.items()},
    "occlusion": _occlusion,
    "rise": lambda subject, options: rise(subject, options.masks, seed=options.seed),
    "attention": partial(_by_attention, "attention", attention),
    "rollout": partial(_by_attention, "rollout", rollout),
}
"""Method by name: a subject to maps (B, ...) of any resolution."""


def usual_methods(subject: Subject) -> list[str]:
    """Methods for a network where none are named; occlusion alone, where there is no network but a file.

    Of boxes LayerCAM, not Grad-CAM: its weights are those of whole channels, which also fire on the neighbors.
    """
    if subject.network is None:
        return ["occlusion"]
    backbone: Any = subject.backbone
    cams = [] if backbone is None else ["layercam" if subject.boxes else "gradcam"]
    net: Any = getattr(backbone, "net", None)
    attends = len(subject.space) == 2 and getattr(net, "cls_token", None) is not None
    attends = attends and bool(attention_weights(net, lambda: backbone(subject.inputs[:1])))
    decoder = ["attention"] if subject.attended() is not None else []
    return [*cams, "integrated_gradients", "occlusion", *decoder, *(["rollout"] if attends else [])]


def check_used(names: Sequence[str], options: Options) -> None:
    """Refuse options of methods that are not among those chosen.

    Raises:
        ConfigError: one would be ignored; names it and the methods that it is for.
    """
    own = {"layer": tuple(CAMS), "patch": ("occlusion",), "stride": ("occlusion",), "masks": ("rise",)}
    for option, methods in own.items():
        given = getattr(options, option) != getattr(Options(), option)
        if given and not set(methods) & set(names):
            raise ConfigError(
                f"--{option} is for {', '.join(methods)}, but maps are made by {', '.join(names)}: add one of these "
                f"to --method, or leave --{option} out"
            )


WITHOUT_GRADIENTS = ("occlusion", "rise")
"""Methods that need scores alone, for exported files."""


def check_methods(names: Sequence[str], offered: Sequence[str] = tuple(METHODS), option: str = "--method") -> None:
    """Check names of methods.

    Raises:
        ConfigError: there is none of that name; names the nearest.
    """
    for number, name in enumerate(names):
        if name not in offered:
            hint = suggest(name, list(offered)) or f": choose from {', '.join(offered)}"
            raise ConfigError(f"{option} is {name!r}, which is none{hint}")
        if name in names[:number]:
            raise ConfigError(f"{option} names {name} twice: leave one out")
