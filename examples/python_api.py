"""The same as on the command line, in Python: pretrain, fine-tune, test, load, predict, features.

python examples/python_api.py
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning.pytorch as L
import torch

from datamodules import Shapes
from tasks import Classification, SimCLR

SMALL = {"train": 256, "val": 64, "test": 64, "image_size": 32, "batch_size": 64}


def main(folder: Path) -> float:
    """Train both tasks for two epochs; returns the test accuracy, 0..1."""
    L.seed_everything(0)
    trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(SimCLR(backbone="test_resnet"), Shapes(views=2, crop=(0.2, 1.0), augment="strong", **SMALL))
    trainer.save_checkpoint(folder / "simclr.ckpt")

    data = Shapes(label_fraction=0.5, augment="flip", **SMALL)
    data.setup("fit")
    task = Classification(backbone="test_resnet", weights=str(folder / "simclr.ckpt"), classes=data.classes)
    trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(task, data)
    accuracy = trainer.test(task, data)[0]["test/accuracy"]
    trainer.save_checkpoint(folder / "classification.ckpt")

    loaded = Classification.load_from_checkpoint(folder / "classification.ckpt").eval()
    image = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        normalized = loaded.normalized(image)
        predicted = loaded.predict_step({"image": normalized}, 0)
        print("classes:", [loaded.classes[label] for label in predicted["label"]])
        print("features:", tuple(loaded.features(normalized).shape))
    return accuracy


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        print(f"test accuracy {main(Path(folder)):.3f}")
