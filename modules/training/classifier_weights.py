"""Classifier of a library among the tensors of its weights."""

from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError


def without_classifier(
    tensors: dict[str, Tensor], own: dict[str, Tensor], backbone: Backbone, last: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a library's tensors into those of the backbone and those of the classifier."""
    names = backbone.config.get("classifier") or ()
    names = [names] if isinstance(names, str) else names
    above = [name.rpartition(".")[0] for name in names]  # such as `head`, with a norm beside `head.linear`
    whole = [name for name in above if name and not any(key.startswith(f"{name}.") for key in own)]
    parts = tuple(f"{name}." for name in (*names, *whole))
    left = {key: value for key, value in tensors.items() if key not in own and key.startswith(parts)}
    return {key: value for key, value in tensors.items() if key not in left}, left or last


def load_classifier(classifier: nn.Module, tensors: dict[str, Tensor], label: str) -> None:
    """Load a library's classifier, whose source is named `label`.

    Raises:
        ConfigError: there is none of its shape among the tensors.
    """
    own = classifier.state_dict()
    found = {key: tensors[key] for key in own if key in tensors and tensors[key].shape == own[key].shape}
    if lacking := [key for key in own if key not in found]:
        raise ConfigError(
            f"model.head is pretrained, but {label} has no such classifier ({first_of(lacking)}): add --model.weights "
            f"pretrained, or leave --model.head out"
        )
    classifier.load_state_dict(found)


def first_of(words: list[str], count: int = 3) -> str:
    """The first words, and the number of the others."""
    more = f" and {len(words) - count} more" if len(words) > count else ""
    return ", ".join(words[:count]) + more
