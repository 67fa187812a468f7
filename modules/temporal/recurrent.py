"""Temporal fusion by a recurrent network over the frames."""

from typing import Literal

from torch import Tensor, nn

from modules.contracts import Backbone, Fusion, Maps, check_range, check_sizes
from modules.temporal.frames import as_maps, frame_width, pooled_frames, vector


class Recurrent(Fusion):
    """LSTM or GRU over the features of the frames; its state after the last one is the clip's.

    Donahue et al. 2015, "Long-term recurrent convolutional networks"; Ng et al. 2015, "Beyond short snippets".

    Args:
        backbone: applied to every frame.
        frames: of a clip; any number will do.
        cell: `lstm` or `gru`.
        hidden: width of the state.
        layers: recurrent layers above each other.
        dropout: between layers, 0..1.
    """

    def __init__(
        self,
        backbone: Backbone,
        frames: int,
        cell: Literal["lstm", "gru"] = "lstm",
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_sizes("fusion", hidden=hidden, layers=layers)
        check_range("fusion.dropout", dropout, high=1)
        width = frame_width(backbone)
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.features, self.pools = vector(hidden, backbone), not backbone.temporal
        self.norm = nn.LayerNorm(width)
        self.cells = kind(width, hidden, layers, batch_first=True, dropout=dropout)

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        states, _ = self.cells(self.norm(pooled_frames(backbone, video)))
        return as_maps(states[:, -1])
