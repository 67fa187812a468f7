"""Initial weights of a backbone: loading, and the parameters that are left untrained."""

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError
from modules.contracts.data_info import DataInfo
from modules.training.initialization import Init, initialize_network, unit_variance
from modules.training.published import WORD, is_published, published_start
from modules.training.transfer import load_backbone
from modules.training.whole_network import load_network, run_start
from tasks.image_input import ImageInput

LSUV_IMAGES, LSUV_CLIPS = 32, 4
"""Training images, or clips, on which LSUV measures the outputs of layers."""


class InitialWeights(ImageInput):
    """Base of tasks whose backbone can begin with the weights of another run, or of its library.

    Args:
        weights: initial weights of the backbone: a run directory, a .ckpt of any task here, a backbone.safetensors, its
            library's file, or `pretrained` to download that; `hf-hub:OWNER/NAME` of the Hugging Face hub, or a folder
            `local-dir:PATH`, in timm's format; null initializes at random. Layers behind the last map
            that a file of an older version lacks are initialized at random, and the log names them.
        init_from: earlier run of the same task, with whose whole network this one begins: backbone, neck and head; or
            `torchvision`, or a file of its, for the detector or segmentation network that it publishes with this
            backbone and head. Of the head the classes are kept whose names both have; others are new.
        init: initialization of all convolutions and linear layers of the backbone, of classification those of the head
            too, instead of the network's own; `lsuv` scales each layer to unit variance on training images.
        init_std: standard deviation of `init` gaussian.

    Attributes: `loaded` is true once the weights are those of a file.
    """

    loaded: bool = False
    remake_head: Callable[[int], nn.Module] | None = None

    def __init__(
        self,
        weights: str | None = None,
        init_from: str | None = None,
        init: Init | None = None,
        init_std: float = 0.01,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if weights and init_from:
            raise ConfigError("model.init_from takes the backbone of its run too: leave model.weights out")
        if weights == WORD:
            raise ConfigError("model.weights is of the backbone alone: begin by --model.init_from torchvision")
        if init and init_from:
            raise ConfigError(f"model.init is {init}, but model.init_from gives all weights: leave one of them out")
        self.init_from = init_from
        self.weights, self.init, self.init_std = weights, init, init_std

    @property
    def classifier(self) -> nn.Module | None:
        """The library's classifier in the head, if any; its weights are loaded with those of the backbone."""
        return None

    @property
    def exported(self) -> Backbone:
        """The backbone that is exported, probed and evaluated."""
        return self.backbone

    def setup(self, stage: str) -> None:
        if self.trainer.ckpt_path:  # it has its own weights
            self.loaded = True
        elif stage == "fit":
            self._start()
        super().setup(stage)

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage == "fit" and self.init is not None and not getattr(self._trainer, "ckpt_path", None):
            self._initialize(self.init, data)

    @property
    def initialized(self) -> tuple[nn.Module, Callable[[Tensor], object]]:
        """The network that `init` initializes, and the function that runs normalized images through it."""
        return self.backbone, self._run_backbone

    def _run_backbone(self, image: Tensor) -> None:
        maps = self.backbone(image)
        if self.backbone.pools:
            self.backbone.pool(maps)

    def _initialize(self, way: Init, data: DataInfo) -> None:
        network, run = self.initialized
        initialize_network(network, way, self.init_std)
        if way != "lsuv":
            return
        image = data.images(LSUV_CLIPS if "video" in self.required_keys else LSUV_IMAGES)
        if image is None:
            raise ConfigError(
                f"model.init is lsuv, which needs training images, but {data.name} has none: choose another"
            )
        image = self.normalized(image.to(self.device))
        unit_variance(network, lambda: run(image))

    def _start(self) -> None:
        """Load the initial weights, and note which parameters neither come from them nor are trained."""
        names, start = dict(self.backbone.net.named_parameters()), set()
        if self.weights or self.init_from or self.classifier is not None:
            self._load()
            start = names.keys() - set(self.backbone.untrained)
        fixed = [name for name, parameter in names.items() if not parameter.requires_grad]
        self._mark_untrained([name for name in fixed if name not in start])

    def _mark_untrained(self, names: Iterable[str]) -> None:
        for backbone in (self.backbone, self.exported):
            backbone.mark_untrained(names)

    def _load(self) -> None:
        if self.init_from:
            self._load_network(self.init_from)
            return
        if not self.weights:
            raise ConfigError("model.head is pretrained, but it has no weights: add --model.weights pretrained")
        rank_zero_info(load_backbone(self.backbone, self.weights, self.classifier))
        self.loaded = True

    def _load_network(self, source: str) -> None:
        """Begin with the whole network of an earlier run of the same task.

        Raises:
            ConfigError: this task has no classes, or the run is of another one.
        """
        if self.remake_head is None or self.classes is None:
            raise ConfigError(
                f"model.init_from is of tasks with classes, but {type(self).__name__} has none: take the backbone of "
                "the run by --model.weights"
            )
        if is_published(source):
            start = published_start(source, self.backbone, self.get_submodule("head"))
        else:
            start = run_start(type(self).__name__, source)  # refuses what is no run
        rest = load_network(self, start, self.classes, self.remake_head)
        rank_zero_info(load_backbone(self.backbone, start.backbone or source))
        rank_zero_info(rest)
        self.loaded = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.loaded = True
        self._mark_untrained(checkpoint.get("backbone", {}).get("untrained", ()))
