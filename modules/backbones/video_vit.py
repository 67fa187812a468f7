"""Vision Transformers for clips: tubelets in place of patches, attention over space and time together."""

from typing import Any

import timm
import torch
from timm.layers import PatchEmbed, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from modules.backbones.positions import grid_positions, sin_cos
from modules.contracts import Backbone, ConfigError, Features, Maps, Weights, check_sizes

PLAIN = {"class_token": False, "global_pool": "avg", "fc_norm": False}
"""Options of timm: no class token, and the mean of all normalized tokens as pooled features."""

PLAIN_NAMES = "--model.backbone.name vit_small_patch16_224, vit_base_patch16_224, test_vit, ..."


class VideoViT(Backbone):
    """A Vision Transformer of timm for clips, with attention over all tokens of space and time together.

    Arnab et al. 2021 (ViViT, model 1), Tong et al. 2022 (VideoMAE). A token is a tubelet: a patch of `tubelet` frames.
    Positions are sines and cosines at first; those in space are learned and resampled for other sizes, those in time
    fixed, so that clips may have any number of frames. All other tensors have timm's names, so that weights for images
    are inflated.

    Args:
        name: a plain Vision Transformer of timm, such as `vit_small_patch16_224`.
        image_size: side of the square frames in pixels that positions are made for.
        tubelet: frames of a token.
        options: more of timm's, such as `{patch_size: 8}`.
        drop_path: stochastic depth, 0..1.

    Raises:
        ConfigError: another network, or an image size of no whole patches.
    """

    temporal = True
    net: Any

    def __init__(
        self,
        name: str = "vit_small_patch16_224",
        image_size: int = 224,
        tubelet: int = 2,
        options: dict[str, Any] | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        check_sizes("model.backbone", image_size=image_size, tubelet=tubelet)
        self.name, self.tubelet, self.image_size = name, tubelet, image_size
        self.built: dict[str, Any] = PLAIN | {"img_size": image_size, "drop_path_rate": drop_path} | (options or {})
        self.arguments = {"image_size": image_size, "tubelet": tubelet} | ({"options": options} if options else {})
        vit = _image_network(name, self.built)
        high, wide = vit.patch_embed.patch_size
        if image_size % high or image_size % wide:
            raise ConfigError(
                f"model.backbone.image_size is {image_size}, which patches of {high} x {wide} pixels do not divide: "
                f"set it to {-(-image_size // high) * high}"
            )
        self.net = SpaceTimeNetwork(vit, tubelet)
        self.features = Features([vit.embed_dim], [high], vit.embed_dim)
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(vit.pretrained_cfg.get(key, (0.5, 0.5, 0.5))))

    def forward(self, image: Tensor) -> Maps:
        """Clips (B, 3, T, H, W) to the map (B, D, T / tubelet, h, w) of their tokens.

        Raises:
            ConfigError: images, or clips that do not fall into whole tubelets.
        """
        self.check(image)
        tokens = self.net(image)
        grid = clip_grid(self.net, image)
        return Maps([tokens.transpose(1, 2).unflatten(2, grid)], tokens)

    def check(self, video: Tensor) -> None:
        """Check that clips (B, 3, T, H, W) fall into whole tubelets.

        Raises:
            ConfigError: they are not.
        """
        if video.ndim != 5:
            raise ConfigError(f"{self.name} takes clips here, not images: choose --model.backbone {self.name}")
        frames, *sides = video.shape[2:]
        if frames % self.tubelet:
            raise ConfigError(
                f"clips of {frames} frames do not fall into whole tubelets of {self.tubelet}: set --data.frames "
                f"{-(-frames // self.tubelet) * self.tubelet}"
            )
        if any(side % patch for side, patch in zip(sides, self.net.patch_embed.patch_size, strict=True)):
            patch = self.net.patch_embed.patch_size[0]
            raise ConfigError(
                f"frames of {sides[0]} x {sides[1]} pixels do not fall into whole patches of {patch}: set "
                f"--data.image_size {-(-max(sides) // patch) * patch}"
            )

    def pool(self, maps: Any) -> Tensor:
        return maps.end.mean(1)

    def pretrained(self) -> Weights:
        net: Any = timm.create_model(self.name, pretrained=True, num_classes=0, **self.built)
        config = net.pretrained_cfg
        about = {"name": self.name, "mean": config["mean"], "std": config["std"]}
        return Weights(net.state_dict(), about, f"timm {self.name}.{config.get('tag', '')}")


class SpaceTimeNetwork(nn.Module):
    """The layers of a Vision Transformer on tubelets; tensors have timm's names.

    Args:
        vit: network for images, whose layers become those of this one.
        tubelet: frames of a token.
    """

    num_prefix_tokens = 0

    def __init__(self, vit: Any, tubelet: int):
        super().__init__()
        self.embed_dim = vit.embed_dim
        self.patch_embed = Tubelets(vit.patch_embed, tubelet)
        self.grid_size = list(vit.patch_embed.grid_size)
        self.pos_embed, self.norm_pre, self.blocks, self.norm = vit.pos_embed, vit.norm_pre, vit.blocks, vit.norm
        with torch.no_grad():
            self.pos_embed.copy_(grid_positions(self.grid_size, self.embed_dim)[None])
        self.pretrained_cfg = dict(vit.pretrained_cfg) | {
            "input_size": (3, *vit.patch_embed.img_size),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }

    def forward(self, video: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) to normalized tokens (B, N, D), row by row, frame by frame."""
        return self.norm(self.blocks(self.norm_pre(self._pos_embed(self.patch_embed(video)))))

    def _pos_embed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, t, h, w, D) to (B, N, D) with positions in space, resampled for other sizes, and in time."""
        _, steps, *grid, width = tokens.shape
        space = resample_abs_pos_embed(self.pos_embed, grid, self.grid_size, num_prefix_tokens=0)
        time = sin_cos(steps, width).to(space)
        return tokens.flatten(1, 3) + (space + time[:, None]).flatten(0, 1).to(tokens.dtype)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of layers for layer-wise learning rates, as timm's."""
        return {"stem": r"^pos_embed|patch_embed", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}


class Tubelets(nn.Module):
    """Embedding of tubelets, initialized from one of patches: a still clip gives the same tokens.

    Args:
        patches: of images.
        tubelet: frames of a token.
    """

    def __init__(self, patches: Any, tubelet: int):
        super().__init__()
        self.patch_size, self.tubelet = patches.patch_size, tubelet
        size = (tubelet, *self.patch_size)
        proj: Any = nn.Conv3d(patches.proj.in_channels, patches.proj.out_channels, size, size)
        with torch.no_grad():
            proj.weight.copy_(patches.proj.weight.unsqueeze(2).expand_as(proj.weight) / tubelet)
            proj.bias.copy_(patches.proj.bias)
        self.proj = proj

    def forward(self, video: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to tokens (B, t, h, w, D)."""
        return self.proj(video).movedim(1, -1)


def clip_grid(net: Any, video: Tensor) -> tuple[int, int, int]:
    """Steps of time, rows and columns of the tubelets of clips (B, C, T, H, W)."""
    high, wide = net.patch_embed.patch_size
    return video.shape[2] // net.patch_embed.tubelet, video.shape[3] // high, video.shape[4] // wide


def _image_network(name: str, options: dict[str, Any]) -> Any:
    """The network for images.

    Raises:
        ConfigError: there is none of this name, or it is no plain Vision Transformer.
    """
    try:
        net: Any = timm.create_model(name, num_classes=0, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"VideoViT does not fit {name} with its options ({error}): choose {PLAIN_NAMES}") from error
    plain = isinstance(net, VisionTransformer) and isinstance(net.patch_embed, PatchEmbed)
    if not plain or net.pos_embed is None or net.patch_embed.proj.bias is None or net.num_prefix_tokens:
        raise ConfigError(
            f"VideoViT is built on plain Vision Transformers of timm, which {name} is not: choose {PLAIN_NAMES}"
        )
    return net
