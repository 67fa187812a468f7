"""Late fusion of frames that a backbone sees one by one: one frame, pooling, or a fully connected layer."""

from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import Backbone, ConfigError, Features, Fusion, Maps, check_range, check_sizes


def mean_of_frames(backbone: Backbone, video: Tensor) -> Maps:
    """The coarsest maps of clips (B, 3, T, H, W), and their pooled features, averaged over the frames."""
    if backbone.temporal:
        maps = backbone(video)
        return Maps([maps[-1].mean(2)], backbone.pool(maps) if backbone.pools else None)
    frames = video.transpose(1, 2)
    maps = backbone(frames.flatten(0, 1))
    pooled = backbone.pool(maps).unflatten(0, frames.shape[:2]).mean(1) if backbone.pools else None
    return Maps([maps[-1].unflatten(0, frames.shape[:2]).mean(1)], pooled)


def pooled_frames(backbone: Backbone, video: Tensor) -> Tensor:
    """Pooled features of every frame (B, T, D); of a backbone for clips the means of the t steps that it leaves."""
    if backbone.temporal:
        return backbone(video)[-1].mean((-2, -1)).transpose(1, 2)
    frames = video.transpose(1, 2)
    return backbone.pool(backbone(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])


def frame_width(backbone: Backbone) -> int:
    """Width D of the output of `pooled_frames`."""
    return backbone.features.channels[-1] if backbone.temporal else backbone.features.pooled


def as_maps(features: Tensor) -> Maps:
    """(B, D) as maps of a single cell, and as pooled features."""
    return Maps([features[..., None, None]], features)


def vector(width: int, backbone: Backbone) -> Features:
    """Features of a single cell, with the stride of the backbone's coarsest map."""
    return Features([width], backbone.features.strides[-1:])


def last_level(backbone: Backbone) -> Features:
    """Features of the backbone's last map alone."""
    return Features(backbone.features.channels[-1:], backbone.features.strides[-1:], backbone.features.pooled)


def with_pooled(backbone: Backbone, image: Tensor) -> Maps:
    """Maps of images, with their pooled features if `backbone.pools`."""
    maps = backbone(image)
    return Maps(maps, backbone.pool(maps) if backbone.pools else None)


def check_images(backbone: Backbone, kind: str) -> None:
    """Check that the backbone takes single frames, as fusions before its end need.

    Raises:
        ConfigError: it is one for clips.
    """
    if backbone.temporal:
        raise ConfigError(
            f"{backbone.name} sees time itself, so that fusion {kind} has no frames to bring together: "
            f"set --model.fusion mean, max, lstm, gru or attention"
        )


class Single(Fusion):
    """The middle frame alone, a baseline without time."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        check_images(backbone, "single")
        self.features = backbone.features

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        return with_pooled(backbone, video[:, :, video.shape[2] // 2])


class Mean(Fusion):
    """The mean of the maps and of the pooled features of all frames; blind to their order (late fusion by pooling)."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        self.features = last_level(backbone)

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        return mean_of_frames(backbone, video)


class Max(Fusion):
    """Max-pooling of each feature over all frames; blind to their order."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        self.features, self.pools = vector(frame_width(backbone), backbone), not backbone.temporal

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        return as_maps(pooled_frames(backbone, video).amax(1))


class Concat(Fusion):
    """The features of all frames side by side, then a fully connected layer (late fusion, Karpathy et al. 2014).

    Args:
        backbone: applied to every frame.
        frames: of a clip.
        hidden: width of the layer.
        dropout: share of its outputs set to zero in training, 0..1.
        cells: of each frame's map along height and width, into which it is averaged; 1 takes the pooled features. As
            many as the map has (7 for 224 px at stride 32) keep all of it: T x D x H' x W' numbers go into the layer.
    """

    def __init__(self, backbone: Backbone, frames: int, hidden: int = 512, dropout: float = 0.0, cells: int = 1):
        super().__init__()
        check_sizes("fusion", hidden=hidden, cells=cells)
        check_range("fusion.dropout", dropout, high=1)
        check_images(backbone, "concat")
        self.features, self.pools, self.cells = vector(hidden, backbone), True, cells
        width = frames * (frame_width(backbone) if cells == 1 else cells**2 * backbone.features.channels[-1])
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        nn.init.kaiming_normal_(self.layers[0].weight, nonlinearity="relu")
        nn.init.zeros_(self.layers[0].bias)

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        return as_maps(self.layers(self._side_by_side(backbone, video)))

    def _side_by_side(self, backbone: Backbone, video: Tensor) -> Tensor:
        if self.cells == 1:
            return pooled_frames(backbone, video).flatten(1)
        frames = video.transpose(1, 2)
        maps = functional.adaptive_avg_pool2d(backbone(frames.flatten(0, 1))[-1], self.cells)
        return maps.unflatten(0, frames.shape[:2]).flatten(1)
