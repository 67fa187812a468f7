"""A translator and a captioner as small as the contracts allow: predictions are made from the references."""

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.helpers.small_task import Backbone, MemoryLogger

__all__ = ["Captioner", "Captions", "MemoryLogger", "Pairs", "Translator"]

ADJECTIVES, NOUNS = ["red", "blue", "small", "$x$ green"], ["dog", "circle", "square", "straße", "tree"]


def said_of(index: int, text: str) -> str:
    """A prediction from the reference: every third is right, the others lose more and more of their words."""
    words = text.split()
    return text if index % 3 == 0 else " ".join(words[: max(0, len(words) - index % 7)])


class Translator(L.LightningModule):
    """Translator without a backbone; `attention` for every second sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.weight.square().sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        said = [said_of(index, text) for index, text in zip(batch["index"], batch["truth"], strict=True)]
        answer = {"text": said}
        if "target_text" in batch:
            answer["pieces"] = [text.split() for text in said]
            answer["source_pieces"] = [text.split() for text in batch["source_text"]]
            answer["attention"] = [
                None if i % 2 or not pieces else torch.eye(len(pieces), len(source)) + 0.1
                for i, pieces, source in zip(batch["index"], answer["pieces"], answer["source_pieces"], strict=True)
            ]
        return answer

    test_step = predict_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Captioner(Translator):
    """Captioner whose attention lies on a corner for each word, another for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        return batch | {"image": self.backbone.normalize(batch["image"])}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        answer = super().validation_step(batch, batch_idx)
        pieces = [text.split() for text in answer["text"]]
        maps = [torch.eye(16)[torch.arange(len(words)) * 5 % 16].view(-1, 4, 4) for words in pieces]
        return answer | {"pieces": pieces, "attention": maps}

    test_step = predict_step = validation_step


class Pairs(L.LightningDataModule):
    """Data module of English and made-up sentences; without `known` only the source."""

    def __init__(self, count: int = 20, known: bool = True) -> None:
        super().__init__()
        self.count, self.known, self.batch_size = count, known, 6

    def sample(self, index: int) -> dict[str, Any]:
        adjective, noun, other = ADJECTIVES[index % 4], NOUNS[index % 5], NOUNS[index % 3]
        source = f"the {adjective} {noun} number {index} is left of the {other} and above all the {index % 4} others"
        truth = f"der {adjective}e {noun} Nummer {index} steht links vom {other} und über allen {index % 4} anderen"
        sample = {"id": str(index + 1), "index": index, "truth": truth, "source_text": source}
        return sample | ({"target_text": truth} if self.known else {})

    def loader(self) -> DataLoader:
        def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
            batch = {key: [sample[key] for sample in samples] for key in samples[0]}
            return batch | ({"image": torch.stack(batch["image"])} if "image" in batch else {})

        return DataLoader([self.sample(i) for i in range(self.count)], batch_size=self.batch_size, collate_fn=collate)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


class Captions(Pairs):
    """Images of one color, brighter to the right, with two captions each."""

    def sample(self, index: int) -> dict[str, Any]:
        pair = super().sample(index)
        image = (torch.arange(48).view(1, 1, -1) * 3).expand(3, 32, -1).clone()
        image[index % 3] += 100
        sample = {"id": f"{index:03}.jpg", "index": index, "truth": pair["truth"], "image": image.to(torch.uint8)}
        return sample | ({"captions": [pair["truth"], pair["source_text"]]} if self.known else {})
