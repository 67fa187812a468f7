"""Size, cost, maps and options of a backbone, from shapes alone: no weights, no computation."""

from functools import cached_property

import timm
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model_builder, get_model_weights, list_models

from modules.backbones import by_name
from modules.backbones.reach import Reach, survey
from modules.backbones.size import attempt, blank, fixed, published, smallest
from modules.contracts import Backbone, ConfigError


class Facts:
    """Facts about the backbone `name`, built as shapes only (on torch's meta device).

    Raises:
        ConfigError: there is no such name.
    """

    def __init__(self, name: str):
        self.name = name
        self.backbone = shapes(name)

    @cached_property
    def reach(self) -> Reach | None:
        """Names of the parameters that maps and pooled features depend on; null where shapes are not enough to tell."""
        try:
            return survey(self.backbone)
        except ConfigError:  # timm's Gemma 4 computes sizes from numbers
            return None

    @property
    def parameters(self) -> int:
        """Number of parameters that the maps depend on, without the classifier and layers that only it uses."""
        return self._count(set.union(*self.reach.maps) if self.reach else set(self._sizes))

    @property
    def behind(self) -> dict[str, int]:
        """Sizes, by name, of the parameters that pooled features depend on and maps do not."""
        names = self.reach.pooled.difference(*self.reach.maps) if self.reach else ()
        return {name: size for name, size in self._sizes.items() if name in names}

    @property
    def unreached(self) -> dict[str, int]:
        """Sizes, by name, of the parameters that no task trains."""
        names = self.reach.pooled.union(*self.reach.maps) if self.reach else self._sizes
        return {name: size for name, size in self._sizes.items() if name not in names}

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {name: p.numel() for name, p in self.backbone.net.named_parameters()}

    def _count(self, names: set[str]) -> int:
        return sum(size for name, size in self._sizes.items() if name in names)

    @cached_property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images that its weights were trained on."""
        return published(self.backbone)

    @cached_property
    def _attempt(self) -> tuple[list[Tensor] | None, int]:
        """Maps of an image of `sides`, and their FLOPs, from one pass, which takes a moment."""
        with FlopCounterMode(display=False) as counter:
            maps = attempt(self.backbone, *self.sides)
        return maps, counter.get_total_flops()

    @property
    def known(self) -> bool:
        """True if a pass on the meta device works; timm's Gemma 4 computes sizes from values."""
        return self._attempt[0] is not None

    @property
    def macs(self) -> int | None:
        """Multiply-accumulate operations (MACs) for one image, or clip of 16 frames, of `sides`, if `known`."""
        return self._attempt[1] // 2 if self.known else None

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Height and width of each map of an image of `sides`; only if `known`."""
        return [tuple(x.shape[-2:]) for x in self._attempt[0]]

    @cached_property
    def fixed(self) -> bool:
        """True if it takes images of `sides` only."""
        return self.known and fixed(self.backbone)

    @cached_property
    def smallest(self) -> int:
        """Side of the smallest image that it takes."""
        return smallest(self.backbone)

    @cached_property
    def options(self) -> list[str]:
        """Supported options among `small_images`, `drop_path` and `output_stride`, as typed."""
        tried = {
            "--model.small_images true": {"small_images": True},
            "--model.drop_path 0.1": {"drop_path": 0.1},
            "--model.output_stride 16": {"output_stride": 16},
            "--model.output_stride 8": {"output_stride": 8},
        }
        coarse = max(self.backbone.features.strides)
        return [
            typed
            for typed, settings in tried.items()
            if settings.get("output_stride", 0) < coarse and _builds(self.name, settings)
        ]

    def tasks(self) -> list[str]:
        """Tasks that it fits, one line each."""
        strides, (high, wide) = self.backbone.features.strides, self.sides
        if self.backbone.temporal:
            return ["video (tasks/video.yaml), as a network for clips; no other task"]
        sizes = f"from {self.smallest} pixels" if self.known else f"such as {high} x {wide} pixels"
        sizes = f"of {high} x {wide} pixels, or as built with image_size" if self.fixed else sizes
        maps = "its own maps" if len(strides) > 1 else "the simple pyramid of ViTDet"
        coarse = "; its finest map is coarse for small objects" if len(strides) > 1 and strides[0] > 8 else ""
        return [
            f"classification and pretraining, images {sizes}",
            f"segmentation and detection, on {maps}{coarse}",
            "video, each frame an image, then a fusion",
        ]


def shapes(name: str) -> Backbone:
    """The backbone `name` on the meta device: shapes without values."""
    try:
        with torch.device("meta"):
            return by_name(name).eval()
    except ConfigError:
        raise
    except Exception:  # some compute with what they are built of
        return blank(by_name(name))


def origin(name: str) -> tuple[str, str]:
    """Library and family (the library's module) of a backbone."""
    if timm.is_model(name):
        module = timm.models.model_entrypoint(name).__module__
    else:
        plain = name.rpartition("/")[2]
        module = get_model_builder(plain).__module__ if plain in list_models() else by_name(name).__module__
    library = module.partition(".")[0]
    return {"modules": "graft"}.get(library, library), module.rpartition(".")[2]


def has_weights(name: str) -> bool:
    """True if `--model.weights pretrained` has published weights to fetch."""
    if timm.is_model(name):
        return timm.models.is_model_pretrained(name)
    plain = name.rpartition("/")[2]
    return plain in list_models() and len(get_model_weights(plain)) > 0


def _builds(name: str, settings: dict[str, bool | float | int]) -> bool:
    try:
        with torch.device("meta"):
            by_name(name, **settings)
    except Exception:  # a ConfigError, or something that cannot be built as shapes only
        return False
    return True
