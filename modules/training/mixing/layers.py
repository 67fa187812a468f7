"""Layers of a backbone whose output can be mixed."""

from modules.backbones.layers import Layer
from modules.contracts import Backbone, ConfigError, suggest


def layer_error(name: str, layers: dict[str, Layer], backbone: Backbone, block: int | None) -> ConfigError | None:
    """Error about a layer that cannot be mixed; null if it can.

    Args:
        name: in `model.mixing.layers`.
        layers: all, of `trace`.
        block: side of PatchUp's blocks in cells; null without PatchUp.
    """
    where = f"model.mixing.layers: {name!r} of {backbone.name}"
    if name not in layers:
        hint = suggest(name, list(layers)) or f": name layers such as {', '.join(_short(layers))}"
        return ConfigError(f"{where} is no layer of the network{hint}")
    calls, shape = layers[name]
    if calls > 1 or shape is None:
        why = f"runs {calls} times in a pass" if calls > 1 else "gives no single tensor with a row per image"
        return ConfigError(f"{where} cannot be mixed, because it {why}: name another layer")
    if block is None:
        return None
    if len(shape) != 4:
        return ConfigError(
            f"{where} cannot be mixed by PatchUp, because it gives no map (B, C, H, W): name another layer"
        )
    if min(shape[2:]) < block:
        return ConfigError(
            f"model.mixing.patchup_block is {block}, larger than the map of {shape[2]} x {shape[3]} cells of {name} in "
            f"{backbone.name}: set it to {(min(shape[2:]) - 1) // 2 * 2 + 1} or less, or name earlier layers in "
            f"model.mixing.layers"
        )
    return None


def _short(layers: dict[str, Layer]) -> list[str]:
    return [name for name in layers if name.count(".") <= 1][:4]
