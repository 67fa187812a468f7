"""Base of tasks with images or clips: their backbone, its features, and what of it is trained and saved."""

from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from modules.backbones import by_name
from modules.backbones.activations import Activation
from modules.backbones.exchange import Pooling, exchange_layers
from modules.backbones.fold_batchnorm import folded
from modules.backbones.lora import LoRA, adapted, add_adapters, merged, norm_layers
from modules.backbones.reach import pools_plainly, survey
from modules.contracts import Backbone, ConfigError, Features, check_range, refuse_raw
from modules.heads.base import H, Head, HeadFactory, HeadRecipe, through
from modules.training.accumulation import total_steps
from modules.training.drop_block import DropBlock
from modules.training.initialization import check_init
from modules.training.transfer import describe
from tasks.initial_weights import InitialWeights


class VisionTask(InitialWeights):
    """Base of the tasks with a backbone.

    `pools` is true for tasks on pooled features (`Backbone.pool`) and false for tasks on maps; `attach` sets it.
    Backbone parameters without influence on the loss are not trained.

    Args:
        backbone: a timm model name, that of a network for clips (`r3d_18`, `c3d`, ...), or a backbone of our own.
        small_images: 3x3 stem without max-pool, for images of about 64 pixels or less.
        in_channels: channels that a backbone given by its name is built for; null takes those of the data, 3 without.
        drop_path: highest probability of skipping a residual branch in training, 0..1.
        drop_block: DropBlock (Ghiasi et al. 2018): share of each map, 0..1, that is set to zero in blocks, in training,
            behind the residual blocks of the last stages; it rises linearly from 0 over the training. 0 is off.
        drop_block_size: odd side of those blocks in cells; clipped to the map.
        drop_block_stages: number of last stages with DropBlock.
        activation: put in place of every activation of the backbone; `maxout` (Goodfellow et al. 2013) is the maximum
            of two learned 1x1 convolutions, and starts as a ReLU. Null keeps those of the network.
        pooling: `fractional` max pooling (Graham 2014), twice by sqrt(2), in place of max pooling by 2, with regions
            drawn for each image in training.
        output_stride: stride of the backbone's coarsest map, by dilation; 8 or 16 keep detail for dense tasks.
        frozen: freeze the backbone, with its normalization layers in eval mode; only the rest is trained.
        lora: train low-rank adapters in place of the backbone's weights, such as `--model.lora.rank 8`.
        compile: compile the backbone with torch.compile; the first step takes a minute or so longer.
        fold_batchnorm: fold batch norms into the convolutions before them and reparameterize RepVGG, in validate, test
            and predict: the same answers but for rounding, faster.
    """

    backbone: Backbone
    pools: bool = False

    def __init__(
        self,
        backbone: Backbone | str = "resnet18",
        small_images: bool = False,
        in_channels: int | None = None,
        drop_path: float = 0.0,
        drop_block: float = 0.0,
        drop_block_size: int = 7,
        drop_block_stages: int = 2,
        activation: Activation | None = None,
        pooling: Pooling = "max",
        output_stride: Literal[8, 16, 32] = 32,
        frozen: bool = False,
        lora: LoRA = LoRA(),
        compile: bool = False,
        fold_batchnorm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_range("model.drop_path", drop_path, high=1)
        check_range("model.in_channels", 3 if in_channels is None else in_channels, 1)
        if isinstance(backbone, str):
            backbone = by_name(backbone, small_images, drop_path, output_stride, in_channels or 3)
        elif small_images or drop_path or output_stride != 32 or in_channels:
            raise ConfigError(
                "small_images, in_channels, drop_path and output_stride belong into the init_args of a backbone by "
                "class_path"
            )
        if backbone.temporal and "video" not in self.required_keys:
            raise ConfigError(
                f"{backbone.name} takes clips, not images: choose another --model.backbone, such as resnet18"
            )
        exchange_layers(backbone, activation, pooling)
        check_init(self.init, self.weights, frozen, lora.rank)
        if lora.rank and frozen:
            raise ConfigError(
                f"model.lora.rank is {lora.rank}, but model.frozen is true: adapters are trained, so leave out one"
            )
        if drop_block and frozen:
            raise ConfigError(f"model.drop_block is {drop_block:g}, but model.frozen is true: leave one of them out")
        if drop_block and compile:
            raise ConfigError(
                "model.drop_block rises in every step, for which model.compile compiles anew: leave out one"
            )
        self.drop_block = DropBlock(backbone, drop_block, drop_block_size, drop_block_stages)
        self.backbone, self.frozen, self.lora = backbone, frozen, lora
        self.backbone.register_forward_pre_hook(refuse_raw)
        self.reach = add_adapters(backbone, lora) if lora.rank else survey(backbone)
        self.backbone.to(memory_format=self.backbone.memory_format)
        if frozen:
            self.backbone.requires_grad_(False).eval()
        self.trainable = {name for name, p in backbone.net.named_parameters() if p.requires_grad}
        self.train_used()
        self.compiled, self.fold_batchnorm = compile, fold_batchnorm
        self.unmerged: list[Backbone] = []  # in a list, so that its tensors are not saved
        if compile:
            self.backbone.compile()  # in place, so that its tensors keep their names

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return {self.backbone.name: self.backbone}

    def _start(self) -> None:
        super()._start()
        if self.lora.rank and not self.loaded:
            rank_zero_warn(
                f"model.lora.rank {self.lora.rank} trains small changes of random weights, which stay as they are: add "
                "--model.weights RUN or pretrained"
            )

    def attach(self, kind: type[H], head: HeadFactory[H], outputs: int) -> H:
        """A head of that kind for the backbone, on its pooled features if the head `pools`.

        Raises:
            ConfigError: a head of another kind.
        """
        made = self.make_head(kind, head, self.backbone.features, outputs)
        self.pools = made.pools
        self.train_used()
        return made

    def make_head(self, kind: type[H], head: HeadFactory[H], features: Features, outputs: int) -> H:
        """A head of that kind, and the way to make it for other outputs.

        Raises:
            ConfigError: a head of another kind.
        """
        self.remake_head = HeadRecipe(kind, head, features)
        return kind.build(head, features, outputs)

    def answer(self, head: Head, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) through the backbone and a head of `attach`."""
        return through(self.backbone, head, image)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Normalized images (B, 3, H, W) to feature maps, fine to coarse, of the `exported` backbone."""
        return self.exported(image)

    def features(self, image: Tensor) -> Tensor:
        """Features (B, D) for probes and exports: pooled ones, or the mean of the coarsest map in tasks on maps."""
        maps = self.maps(image)
        return self.exported.pool(maps) if self.pools else maps[-1].mean((-2, -1))

    @property
    def used(self) -> set[str]:
        """Names of the parameters of the backbone's `net` with influence on the loss."""
        return self.reach.pooled if self.pools else set.union(*self.reach.maps)

    def train_used(self) -> None:
        """Freeze backbone parameters without influence on the loss, since DDP would wait for their gradients.

        To be called again when `pools` or `used` change.
        """
        self.backbone.set_pools(self.pools)
        used = self.used
        for name, parameter in self.backbone.net.named_parameters():
            parameter.requires_grad_(name in self.trainable and name in used)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        progress = self.trainer.global_step / max(1, total_steps(self.trainer))
        self.drop_block.set_progress(progress)
        for part in self.children():
            if isinstance(part, Head):
                part.set_progress(progress)

    def train(self, mode: bool = True) -> "VisionTask":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        for layer in norm_layers(self.backbone.net) if self.lora.rank and not self.lora.norms else ():
            layer.eval()
        return self

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "validate":
            self._fold()

    def on_test_start(self) -> None:
        self._fold()

    def on_predict_start(self) -> None:
        self._fold()

    def _fold(self) -> None:
        """Here, because a checkpoint is loaded before, into the network as it was trained.

        Without one, a published network takes its weights now.
        """
        if self.answered:
            return
        if self.classifier is not None and not self.loaded:
            self._load()
        if self.fold_batchnorm:
            self.backbone, self.fold_batchnorm = folded(self.backbone), False
        elif adapted(self.backbone.net):
            self.unmerged, self.backbone = [self.backbone], merged(self.backbone)
        else:
            return
        if self.compiled:
            self.backbone.compile()

    def on_validation_end(self) -> None:
        self._unmerge()

    def on_test_end(self) -> None:
        self._unmerge()

    def on_predict_end(self) -> None:
        self._unmerge()

    def _unmerge(self) -> None:
        """Put the backbone with its adapters back, as they were, so that the task can be trained and saved."""
        if self.unmerged:
            self.backbone, self.unmerged = self.unmerged.pop(), []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        scale = {"lora_scale": self.lora.scale} if self.lora.rank else {}
        checkpoint["backbone"] = describe(self.backbone) | {"pooled": self.pools} | scale

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        about = checkpoint.get("backbone", {})
        if self.pools and "pooled" not in about and not pools_plainly(self.backbone):
            raise ConfigError(
                f"the checkpoint is of a version that took the mean of the last map, and not the pooled features of "
                f"{self.backbone.name} as published, so that its head does not fit: train it again, from its backbone "
                f"by --model.weights if you like"
            )
