"""Typed settings that have no effect, because the one that they belong to is off."""

from collections.abc import Iterator

from jsonargparse import Namespace

from commands.given_settings import typed_names

OWNERS = {
    "model.lora.rank": "model.lora.alpha model.lora.dropout model.lora.layers model.lora.norms",
    "model.distill.teacher": "model.distill.temperature model.distill.weight",
    "model.drop_block": "model.drop_block_size model.drop_block_stages",
    "model.adversarial": "model.adversarial_eps model.adversarial_steps",
    "model.masked_loss_weight": "model.mask_ratio",
    "model.queue_size": "model.queue_start",
    "data.local_views": "data.local_size data.local_crop",
}
"""Setting, which is off by 0, null or `none` -> settings that count only where it is on."""
CHOICES = {("model.loss", "queue"): "model.queue_size model.temperature"}
"""Setting and its one value with which these count."""


def without_effect(settings: Namespace, typed: list[str]) -> Iterator[str]:
    """Sentences on typed settings that have no effect.

    Args:
        settings: of the command.
        typed: words of the command line.
    """
    names, known = typed_names(typed), dict[str, object]()
    for section in ("model", "data"):
        own = settings.get(section, {}).get("init_args") or Namespace()
        known |= {f"{section}.{name}": value for name, value in own.items(branches=True)}
    for owner, more in OWNERS.items():
        if owner in known and known[owner] in (0, None, "none"):
            for name in sorted(names & set(more.split()) & known.keys()):
                yield f"{name} has no effect while {owner} is {_said(known[owner])}: set --{owner} too, or leave it out"
    for (owner, value), more in CHOICES.items():
        if known.get(owner, value) != value and set(more.split()) <= known.keys():
            for name in sorted(names & set(more.split())):
                yield f"{name} has no effect while {owner} is {known[owner]}: type --{owner} {value}, or leave it out"


def _said(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
