"""Features, as an npz file."""

from callbacks.writers.base import Source
from callbacks.writers.tables import Arrays
from modules.contracts import Batch, Prediction


class FeatureFile(Arrays):
    """Write features as npz, with labels where they are known."""

    def __init__(self, source: Source) -> None:
        name = "features.npz" if source.stage == "predict" else f"{source.stage}_features.npz"
        super().__init__(source.folder / name, source.rank)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        self.write(batch["id"], prediction["features"], batch.get("label"))
