"""Mask queries on any pyramid."""

from math import gcd

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, Features, check_range, check_sizes
from modules.heads.queries.attention import Annealing, Attention, positions
from modules.heads.queries.base import MaskQueryHead, Queries, See, Target
from modules.heads.queries.losses import SetLoss
from modules.heads.queries.surplus import Surplus
from modules.layers.blocks import resize

ATTENDED = 3  # levels that the layers attend to in turn
CHANNELS = 32  # of an attention head


class QueryMasks(MaskQueryHead):
    """Mask queries: learned queries attend to the pyramid and answer with a class and a mask each.

    The decoder of Mask2Former (Cheng et al. 2022) behind a pixel decoder of convolutions in place of deformable
    attention: masked attention to the coarse maps in turn, self-attention, losses of every layer at sampled points.
    Losses: class, mask, dice.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C, without background.
        queries: number of queries; an image has no more segments than that.
        width: channels of all layers, a multiple of 4.
        layers: of the decoder.
        mask_stride: of the masks: finer maps are not used, if there are coarser ones.
        anneal: masked attention fades out in training, so that inference needs none (Kerssies et al. 2025); false masks
            always, as Mask2Former.
        points: at which masks are compared in training; null is as many as their logits have cells, 12,544 at most.
        no_object: weight of queries without an object in the cross-entropy of the classes, 0..1.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        queries: int = 100,
        width: int = 256,
        layers: int = 6,
        mask_stride: int = 4,
        anneal: bool = True,
        points: int | None = None,
        no_object: float = 0.1,
    ):
        super().__init__()
        check_sizes("head", queries=queries, width=width, layers=layers, mask_stride=mask_stride)
        check_sizes("head", points=1 if points is None else points)
        check_range("head.no_object", no_object, high=1)
        if width % 4:
            raise ConfigError(f"head.width is {width}, but must be a multiple of 4")
        self.queries, self.surplus, self.loss = queries, Surplus(queries), SetLoss(points, no_object)
        self.pixels = PixelDecoder(features, width, mask_stride)
        attended = min(ATTENDED, max(1, len(self.pixels.lateral) - 1))
        self.level = nn.Parameter(0.02 * torch.randn(attended, width))
        self.content, self.place = (nn.Parameter(torch.randn(queries, width)) for _ in range(2))
        self.layers = nn.ModuleList(DecoderLayer(width) for _ in range(layers))
        self.masking = Annealing(layers, anneal)
        self.answer = Answer(width, outputs)

    def set_progress(self, progress: float) -> None:
        self.masking.set_progress(progress)

    def forward(
        self, image: Tensor, see: See, targets: list[Target] | None = None
    ) -> tuple[Queries, dict[str, Tensor]]:
        """See `MaskQueryHead`."""
        coarse, finest = self.pixels(see(image))
        memory, places = [], []
        for x, level in zip(coarse[: len(self.level)], self.level, strict=True):
            memory.append(x.flatten(2).transpose(1, 2) + level)
            places.append(positions(x.shape[-2], x.shape[-1], x.shape[1], x.device))
        query, place = self.content.expand(image.shape[0], -1, -1), self.place
        answers = []
        for number, layer in enumerate(self.layers):
            turn, blocked = number % len(memory), None
            masked = self.masking.active(number)
            if masked or targets is not None:
                answers.append(self.answer(query, finest))
            if masked:
                blocked = self.masking(number, answers[-1].masks, coarse[turn].shape[-2:])
            query = layer(query, place, memory[turn], places[turn], blocked)
        answers.append(self.answer(query, finest))
        if targets is None:
            return answers[-1], {}
        self.surplus.warn([len(target["labels"]) for target in targets])
        return answers[-1], self.loss.compute(answers, targets)


class PixelDecoder(nn.Module):
    """Coarse to fine fusion of maps to equal channels (Lin et al. 2017), with group norms.

    Args:
        features: of the maps.
        width: channels.
        finest: least stride of the maps that are used.
    """

    def __init__(self, features: Features, width: int, finest: int):
        super().__init__()
        self.skip = sum(stride < finest for stride in features.strides[:-1])
        self.lateral = nn.ModuleList(_block(channels, width, 1) for channels in features.channels[self.skip :])
        self.smooth = nn.ModuleList(_block(width, width, 3, nn.ReLU(inplace=True)) for _ in self.lateral)
        self.last = nn.Conv2d(width, width, 1)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Maps, fine to coarse, to maps (B, width, h, w), coarse to fine, and embeddings of the pixels of the finest.

        Where there is more than one map, the finest is left out of the first.
        """
        found: list[Tensor] = []
        for x, lateral, smooth in reversed(list(zip(maps[self.skip :], self.lateral, self.smooth, strict=True))):
            x = lateral(x)
            height, width = x.shape[-2:]
            # masks are products with these maps, by which alike objects differ in their places alone
            x = x + positions(height, width, x.shape[1], x.device).T.unflatten(1, (height, width))
            found.append(smooth(x + resize(found[-1], x.shape[-2:]) if found else x))
        return found[:-1] or found, self.last(found[-1])


class DecoderLayer(nn.Module):
    """Cross-attention to a map, self-attention of the queries, and a feed-forward network, each with a norm behind it.

    Args:
        width: of the queries.
    """

    def __init__(self, width: int):
        super().__init__()
        heads = max(1, width // CHANNELS)
        heads = heads if width % heads == 0 else 1
        self.cross, self.own = Attention(width, heads), Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(inplace=True), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, query: Tensor, place: Tensor, memory: Tensor, places: Tensor, blocked: Tensor | None) -> Tensor:
        """Queries (B, Q, D) to the same, refined.

        Args:
            query: what the queries know.
            place: their positions (Q, D).
            memory: (B, N, D).
            places: positions of the memory, (N, D).
            blocked: cells that a query does not look at, bool (B, Q, N); null is none.
        """
        query = self.norms[0](query + self.cross(query + place, memory + places, memory, blocked))
        query = self.norms[1](query + self.own(query + place, query + place, query))
        return self.norms[2](query + self.feed(query))


class Answer(nn.Module):
    """Class and mask of each query: a linear layer, and the product of an embedding with every pixel's.

    Args:
        width: of queries and pixels.
        outputs: number of classes C.
    """

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, outputs + 1)  # no object first, as the background of other heads
        steps = [layer for _ in range(2) for layer in (nn.Linear(width, width), nn.ReLU(inplace=True))]
        self.mask = nn.Sequential(*steps, nn.Linear(width, width))

    def forward(self, query: Tensor, pixels: Tensor) -> Queries:
        """Answers of queries (B, Q, D) about pixels (B, D, h, w)."""
        query = self.norm(query)
        masks = torch.einsum("bqd,bdhw->bqhw", self.mask(query), pixels)
        nothing, classes = self.classes(query).float().split([1, self.classes.out_features - 1], 2)
        return Queries(torch.cat([classes, nothing], 2), masks.float())


def _block(inputs: int, outputs: int, kernel: int, *more: nn.Module) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    return nn.Sequential(layer, nn.GroupNorm(gcd(32, outputs), outputs), *more)
