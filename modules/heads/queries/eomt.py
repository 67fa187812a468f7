"""Mask queries inside a plain Vision Transformer."""

from math import log2
from typing import Any

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from modules.backbones.tokens import token_grid, token_network
from modules.contracts import Backbone, ConfigError, Features, Neck, check_range, check_sizes
from modules.heads.queries.attention import Annealing
from modules.heads.queries.base import MaskQueryHead, Queries, See, Target
from modules.heads.queries.losses import SetLoss
from modules.heads.queries.query_masks import Answer
from modules.heads.queries.surplus import Surplus
from modules.necks import NoNeck, SimplePyramid

FINEST = 4  # stride of the masks, in pixels


class EoMT(MaskQueryHead):
    """Encoder-only mask transformer: queries join the tokens of a plain ViT in its last blocks (Kerssies et al. 2025).

    No decoder: the blocks of the backbone do its work, and all that is added are queries, two answers and a few
    transposed convolutions. Masked attention fades out in training, so that inference is the plain ViT with
    a few more tokens. For the Vision Transformers of timm, without a neck. Losses: class, mask, dice.

    Args:
        features: of the backbone.
        outputs: number of classes C, without background.
        queries: number of queries; an image has no more segments than that.
        blocks: last blocks of the ViT that the queries join.
        anneal: false masks attention always.
        points: at which masks are compared in training; null is as many as their logits have cells, 12,544 at most.
        no_object: weight of queries without an object in the cross-entropy of the classes, 0..1.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        queries: int = 100,
        blocks: int = 4,
        anneal: bool = True,
        points: int | None = None,
        no_object: float = 0.1,
    ):
        super().__init__()
        check_sizes("head", queries=queries, blocks=blocks, points=1 if points is None else points)
        check_range("head.no_object", no_object, high=1)
        width = features.channels[-1]
        stride = features.strides[features.channels.index(width)]  # finer maps of a SimplePyramid are narrower
        self.queries, self.surplus, self.loss = queries, Surplus(queries), SetLoss(points, no_object)
        self.width = width
        self.query = nn.Parameter(0.02 * torch.randn(queries, width))
        self.masking = Annealing(blocks, anneal)
        self.answer = Answer(width, outputs)
        self.finer = nn.Sequential(*(_double(width) for _ in range(int(log2(max(1, stride / FINEST))))))
        self.joined: tuple[Backbone, ...] = ()  # not a module of its own: the task saves and trains it

    def set_progress(self, progress: float) -> None:
        self.masking.set_progress(progress)

    def join(self, backbone: Backbone, neck: Neck, given: bool) -> Neck:
        """See `MaskQueryHead`: the neck is none."""
        net = token_network(backbone, "EoMT")
        if given and not isinstance(neck, NoNeck):
            raise ConfigError("model.neck is of no use to EoMT, which reads the tokens of the ViT: set it to NoNeck")
        if not isinstance(neck, NoNeck | SimplePyramid) or net.embed_dim != self.width:
            raise ConfigError("EoMT reads the tokens of the ViT, not the maps of a neck: set --model.neck NoNeck")
        if len(self.masking.probability) > len(net.blocks):
            raise ConfigError(
                f"head.blocks is {len(self.masking.probability)}, but {backbone.name} has {len(net.blocks)} blocks"
            )
        self.joined = (backbone,)
        return NoNeck(backbone.features)

    def forward(
        self, image: Tensor, see: See, targets: list[Target] | None = None
    ) -> tuple[Queries, dict[str, Tensor]]:
        """See `MaskQueryHead`."""
        net: Any = self.joined[0].net
        rows, columns = token_grid(net, image)
        first = len(net.blocks) - len(self.masking.probability)
        x = net.norm_pre(net._pos_embed(net.patch_embed(image)))
        x = net.blocks[:first](x)
        x = torch.cat([self.query.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)
        answers = []
        for number, block in enumerate(net.blocks[first:]):
            masked = self.masking.active(number)
            if masked or targets is not None:
                answers.append(self._answer(net, x, rows, columns))
            mask = self._attention_mask(number, answers[-1].masks, x, (rows, columns)) if masked else None
            x = block(x, attn_mask=mask)
        answers.append(self._answer(net, x, rows, columns))
        if targets is None:
            return answers[-1], {}
        self.surplus.warn([len(target["labels"]) for target in targets])
        return answers[-1], self.loss.compute(answers, targets)

    def _answer(self, net: Any, x: Tensor, rows: int, columns: int) -> Queries:
        """Answers from the tokens (B, Q + P + N, D) of all kinds."""
        x = net.norm(x)
        cells = x[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
        return self.answer(x[:, : self.queries], self.finer(cells))

    def _attention_mask(self, number: int, masks: Tensor, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Additive mask (B, 1, T, T) of all T tokens: queries look at the cells of their masks, all else at all."""
        blocked = self.masking(number, masks, size)
        seen = x.new_zeros(x.shape[0], 1, x.shape[1], x.shape[1])
        seen[:, 0, : self.queries, -blocked.shape[2] :].masked_fill_(blocked, float("-inf"))
        return seen


def _double(width: int) -> nn.Sequential:
    """One step to maps of twice the resolution."""
    each = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
    return nn.Sequential(nn.ConvTranspose2d(width, width, 2, 2), nn.GELU(), each, LayerNorm2d(width))
