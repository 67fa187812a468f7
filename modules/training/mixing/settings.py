"""Settings of mixing inside of the network, and of PuzzleMix."""

from dataclasses import dataclass
from typing import Literal

from modules.contracts import ConfigError, check_range, check_sizes


@dataclass(frozen=True)
class Mixing:
    """Mixing beside MixUp and CutMix: of hidden features, or by saliency. With several, each batch draws one of them.

    Args:
        manifold_mixup: alpha of manifold mixup (Verma et al. 2019): the features behind one layer, drawn for each
            batch, are mixed as MixUp mixes images; 0 is off.
        patchup_hard: PatchUp (Faramarzi et al. 2020): probability 0..1 that a feature is the center of a block that is
            exchanged between two samples, in the layer drawn for the batch; published with 0.5. 0 is off.
        patchup_soft: the same with blocks that are mixed by a share from Beta(`patchup_alpha`, `patchup_alpha`);
            published with 0.75.
        patchup_block: odd side of those blocks in cells.
        patchup_alpha: see `patchup_soft`.
        puzzlemix: alpha of PuzzleMix (Kim et al. 2020): each cell comes from the sample with more saliency there, and
            cells are moved to where they are seen; 0 is off. Saliency costs a second forward and backward pass.
        puzzlemix_solver: `exact` minimizes the published energy (graph cut, optimal transport, on the CPU);
            `independent` is a cheap approximation that chooses each cell for itself and moves none.
        layers: layers for manifold mixup and PatchUp by their names in the backbone's `net`, such as [input, layer1];
            `input` is the image. Null takes the image and all layers that end in a feature map, but for the last.

    Raises:
        ConfigError: a value out of range.
    """

    manifold_mixup: float = 0.0
    patchup_hard: float = 0.0
    patchup_soft: float = 0.0
    patchup_block: int = 7
    patchup_alpha: float = 2.0
    puzzlemix: float = 0.0
    puzzlemix_solver: Literal["exact", "independent"] = "exact"
    layers: list[str] | None = None

    def __post_init__(self) -> None:
        check_range("model.mixing.manifold_mixup", self.manifold_mixup)
        check_range("model.mixing.puzzlemix", self.puzzlemix)
        check_range("model.mixing.patchup_hard", self.patchup_hard, high=1)
        check_range("model.mixing.patchup_soft", self.patchup_soft, high=1)
        check_range("model.mixing.patchup_alpha", self.patchup_alpha, low=1e-3)
        check_sizes("model.mixing", patchup_block=self.patchup_block)
        if self.patchup_block % 2 == 0:
            raise ConfigError(
                f"model.mixing.patchup_block is {self.patchup_block}, but blocks have a center: set an odd side"
            )
        if self.layers is not None and not self.layers:
            raise ConfigError("model.mixing.layers is empty: name layers such as [input, layer1], or set it to null")
        if self.layers is not None and not self.hidden:
            raise ConfigError(
                "model.mixing.layers serves manifold mixup and PatchUp, which are off: set "
                "model.mixing.manifold_mixup, patchup_hard or patchup_soft, or leave it out"
            )

    @property
    def patchup(self) -> bool:
        """True with PatchUp, which needs maps."""
        return bool(self.patchup_hard or self.patchup_soft)

    @property
    def hidden(self) -> bool:
        """True if features inside of the network are mixed."""
        return bool(self.manifold_mixup or self.patchup)
