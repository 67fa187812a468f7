"""Transfer of weights between tasks: loading and exporting of backbones, here only."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from modules.backbones import Timm, VideoViT, by_name
from modules.backbones.activations import MaxoutUnit
from modules.backbones.classics.vgg import deepen
from modules.backbones.exchange import exchange_layers
from modules.backbones.lora import adapted, merge, merged_tensors, without_adapters
from modules.backbones.reach import survey
from modules.contracts import Backbone, ConfigError, DataError, Weights, writing
from modules.contracts.repositories import is_repository
from modules.training.adaptation import adapt_channels, adapt_time
from modules.training.checkpoint_file import read_checkpoint, read_plain
from modules.training.classifier_weights import first_of, load_classifier, without_classifier
from modules.training.growing import is_deeper
from modules.training.hub import read_repository, repository_file
from modules.training.lora_file import apply_lora, scale_of, trained_tensors
from modules.training.metadata import ARGUMENTS, advice, check_about, check_changed


def load_backbone(backbone: Backbone, source: str | Weights, classifier: nn.Module | None = None) -> str:
    """Load weights into `backbone`; returns a line with their number and source.

    A VGG takes those of a shallower VGG as its paper does: see `deepen`. Exports of versions that ended the backbone at
    its last map lack the layers behind it (hidden layers of AlexNet, VGG and MobileNetV3, norm of ConvNeXt, as
    torchvision has them): these start afresh, and the line says so.

    Args:
        backbone: changed in place: all tensors, `mean` and `std` when the source has them, and `untrained`.
        source: a run directory, a `.ckpt` of any task, a `backbone.safetensors`, `hf-hub:OWNER/NAME` or
            `local-dir:PATH` in timm's format, or `pretrained` for the weights of the backbone's library; or what
            was read.
        classifier: takes the library's classifier, which the source must have.

    Raises:
        DataError: no such file, or not a checkpoint; never unpickles anything but tensors and plain values.
        ConfigError: weights of another architecture; names the tensors that do not fit.
    """
    found = source if isinstance(source, Weights) else _read(backbone, source)
    tensors, about, label, last = found
    check_about(about, label)
    check_changed(backbone, about, label)
    epoch = f", epoch {about['epoch']}" if "epoch" in about else ""
    if isinstance(start := about.get("start"), str):
        said = load_backbone(backbone, start, classifier)
        apply_lora(backbone, found)
        _take_statistics(backbone, about)
        return f"{said}, with {len(tensors)} tensors that LoRA trained from {label}{epoch}"
    if is_deeper(backbone, about.get("name", "")):
        return f"{_load_shallower(backbone, found, classifier)}{epoch}; all its other layers start afresh"
    tensors = adapt_time(adapt_channels(tensors, backbone), backbone)
    state = backbone.net.state_dict()
    own = without_adapters(state)
    tensors, last = without_classifier(tensors, own, backbone, last)
    fresh = _fresh(backbone, own, tensors)
    tensors |= {key: own[key] for key in fresh}
    wrong = [
        *[f"{k} is missing" for k in own if k not in tensors],
        *[f"{k} is not in {backbone.name}" for k in tensors if k not in own],
        *[
            f"{k} is {_size(tensors[k])} instead of {_size(v)}"
            for k, v in own.items()
            if k in tensors and tensors[k].shape != v.shape
        ],
    ]
    if wrong:
        raise ConfigError(
            f"weights from {label} do not fit {backbone.name}: {first_of(wrong)}{advice(backbone, about)}"
        )
    state.update(tensors)  # keeps the versions of layers, which torch reads
    backbone.net.load_state_dict(state)
    _take_statistics(backbone, about)
    if classifier is not None:
        load_classifier(classifier, last, label)
    backbone.mark_untrained(fresh or about.get("untrained", ()))
    said = f"; {first_of(fresh)} are not in it and start afresh" if fresh else ""
    if backbone.untrained and not fresh:
        said = f"; {first_of(list(backbone.untrained))} were not trained there"
    return f"backbone: {len(own) - len(fresh)}/{len(own)} tensors from {label}{epoch}{said}"


def _load_shallower(backbone: Backbone, found: Weights, classifier: nn.Module | None) -> str:
    """Load the weights of a shallower VGG, as its paper does; returns a line with the layers that were filled."""
    if adapted(backbone.net):
        raise ConfigError(
            f"model.lora trains adapters alone, but {backbone.name} from {found.source} has layers that start afresh: "
            "leave model.lora out"
        )
    shallower = described_backbone(found.about)
    load_backbone(shallower, found)
    filled = deepen(backbone.net, shallower.net)
    _take_statistics(backbone, found.about)
    if classifier is not None:
        last = without_classifier(found.tensors, shallower.net.state_dict(), shallower, found.classifier)[1]
        load_classifier(classifier, last, found.source)
    return f"backbone: {', '.join(filled)} of {backbone.name} from {shallower.name} in {found.source}"


def described_backbone(about: dict[str, Any], in_channels: int = 3) -> Backbone:
    """The backbone that weights say they are of, as it was built, with the layers that were exchanged in it."""
    name, small = about["name"], about.get("small_images", False)
    if said := {key: about[key] for key in ARGUMENTS if key in about}:
        backbone: Backbone = VideoViT(name, **said) if "tubelet" in said else Timm(name, in_channels, small, **said)
    else:
        backbone = by_name(name, small, in_channels=in_channels)
    exchange_layers(backbone, about.get("activation"), about.get("pooling", "max"))
    return backbone


def _read(backbone: Backbone, source: str) -> Weights:
    if source == "pretrained":
        return _pretrained(backbone)
    return read_repository(source, backbone) if is_repository(source) else read_weights(source)


def read_weights(source: str) -> Weights:
    """Read the backbone weights of a run directory, a checkpoint or a safetensors file."""
    path = weights_file(source)
    readers = {".safetensors": _read_safetensors, ".pth": read_tensors, ".pt": read_tensors, ".bin": read_tensors}
    return readers.get(path.suffix, _read_checkpoint)(path)


def weights_file(source: str) -> Path:
    """The file from which weights are read.

    Raises:
        DataError: there is none.
    """
    if is_repository(source):
        return repository_file(source)
    path = Path(source).expanduser()
    if path.is_dir():
        inside = [path / "backbone.safetensors", path / "checkpoints" / "best.ckpt", path / "checkpoints" / "last.ckpt"]
        path = next((p for p in inside if p.is_file()), path)
        if path.is_dir():
            raise DataError(f"{source} has neither backbone.safetensors nor checkpoints: nothing is saved yet")
    if not path.is_file():
        raise DataError(f"no weights at {source}: give a run directory, .ckpt, backbone.safetensors or `pretrained`")
    return path


def export_backbone(backbone: Backbone, path: Path, **about: Any) -> None:
    """Write `backbone.safetensors` under timm's own names, adapters merged, with name and input statistics as metadata.

    Plain timm loads it: `timm.create_model(name, num_classes=0, checkpoint_path=path)`.
    """
    _write(path, merged_tensors(backbone.net), {**describe(backbone), **about})


def export_lora(
    backbone: Backbone, path: Path, trained: Collection[str], start: str, scale: float, **about: Any
) -> None:
    """Write `lora.safetensors`: adapters, and what was trained beside them in the backbone.

    Args:
        backbone: with adapters.
        path: of the file.
        trained: names of the trained parameters in `backbone.net`, adapters included.
        start: `model.weights` that it started from, which the file is read with again.
        scale: factor of the adapters.
        about: more metadata.
    """
    tensors, rest = trained_tensors(backbone.net, trained)
    lora = {"lora_scale": scale, "start": start, "start_hash": rest}
    _write(path, tensors, {**describe(backbone), **lora, **about})


def _write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    partial = path.with_suffix(".tmp")
    with writing(path):
        # not save_file, whose errors do not say what the operating system said
        partial.write_bytes(save(tensors, metadata={"format": "pt"} | {k: json.dumps(v) for k, v in about.items()}))
        partial.replace(path)


def describe(backbone: Backbone) -> dict[str, Any]:
    """Metadata of the exported file, as plain values."""
    about = {
        "name": backbone.name,
        "small_images": backbone.small_images,
        "mean": [round(x, 6) for x in backbone.mean.tolist()],
        "std": [round(x, 6) for x in backbone.std.tolist()],
    }
    return (
        about
        | backbone.changed
        | backbone.arguments
        | ({"untrained": list(backbone.untrained)} if backbone.untrained else {})
    )


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, "pt") as file:
            about = {k: json.loads(v) for k, v in (file.metadata() or {}).items() if k != "format"}
            return Weights({k: file.get_tensor(k) for k in file.keys()}, about, str(path))  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error


def read_tensors(path: Path) -> Weights:
    """Read a library's file of named tensors, such as torchvision's `.pth`."""
    tensors = read_plain(path)
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DataError(f"{path} is not a file of named tensors, as torchvision's are: a checkpoint here ends in .ckpt")
    return Weights(tensors, {}, str(path))


def _read_checkpoint(path: Path) -> Weights:
    checkpoint = read_checkpoint(path)
    prefix = checkpoint.get("backbone", {}).get("prefix", "backbone.net.")
    tensors = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    if not tensors:
        raise DataError(f"{path} has no backbone in it: its tensors are {first_of(list(checkpoint['state_dict']))}")
    about = checkpoint.get("backbone", {}) | ({"epoch": checkpoint["epoch"] + 1} if "epoch" in checkpoint else {})
    return Weights(merge(tensors, scale_of(about, str(path))), about, str(path))


def _pretrained(backbone: Backbone) -> Weights:
    try:
        return backbone.pretrained()
    except Exception as error:  # hub, cache and network each raise their own types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        file = backbone.weights_file
        elsewhere = file and f"; fetch {file} where there is a network, and say --model.weights FILE"
        raise DataError(f"cannot get the pretrained weights of {backbone.name}: {reason}{elsewhere}") from error


def _take_statistics(backbone: Backbone, about: dict[str, Any]) -> None:
    if len(about.get("mean", ())) == len(backbone.mean):
        backbone.mean.copy_(torch.tensor(about["mean"]))
        backbone.std.copy_(torch.tensor(about["std"]))


def _fresh(backbone: Backbone, own: dict[str, Tensor], tensors: dict[str, Tensor]) -> list[str]:
    """Names of the layers behind the last map, where exports of old lack all of them, or of Maxout put into others."""
    lacking = [key for key in own if key not in tensors]
    units = [path for path, unit in backbone.net.named_modules() if isinstance(unit, MaxoutUnit | nn.PReLU)]
    added = tuple(f"{path}." for path in units if "activation" in backbone.changed)
    if all(key.startswith(added) for key in lacking):
        return lacking
    reach = survey(backbone)
    return lacking if set(lacking) == own.keys() & reach.pooled.difference(*reach.maps) else []


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
