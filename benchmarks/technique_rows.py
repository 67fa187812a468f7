"""Training techniques that `benchmarks.techniques` measures, each with the options that turn it on."""

from dataclasses import dataclass
from typing import Literal

OTHERS = "RUN,RUN"  # in options of `tests`: runs of the reference with the other seeds


@dataclass(frozen=True)
class Technique:
    """A row of the table.

    Args:
        name: in the table, and of `--only`.
        group: rows of one group stand together.
        options: of `cli.py fit`, as typed.
        kind: `adds` trains with the options; the reference has what `removes` goes without by its options; `tests` are
            options of `cli.py test` for the trained reference.
        same_step: a training step does what the reference's does, or hardly more (dropout, mirroring), so that its cost
            is 1 and not measured.
    """

    name: str
    group: str
    options: str
    kind: Literal["adds", "removes", "tests"] = "adds"
    same_step: bool = False

    @property
    def words(self) -> list[str]:
        """The options, word by word; a list in brackets is one word."""
        return self.options.split()


def _optimizer(name: str, options: str, decay: float) -> Technique:
    """An optimizer in place of AdamW, with the weight decay that its rate is known with."""
    return Technique(name, "optimizer", f"--model.optim.optimizer {options} --model.optim.weight_decay {decay:g}")


AUGMENTATION = [
    ("random crop", "--data.crop null", "removes", True),
    ("mirroring", "--data.augment none", "removes", True),
    ("color jitter and gray", "--data.augment simclr"),
    ("RandAugment", "--data.augment randaugment"),
    ("TrivialAugment", "--data.augment trivialaugment"),
    ("AugMix", "--data.augment augmix"),
    (
        "AugMix with consistency loss",
        "--data.augment augmix --data.views 3 --data.consistent_views true --model.jsd_weight 12",
    ),
    ("random erasing", "--data.erasing pixel"),
    ("repeated augmentation", "--data.repeats 3"),
    ("scale jitter in place of crop", "--data.scale_jitter [32,40] --data.crop null"),
]
NORMALIZATION = [
    ("by the data's channels", "--data.normalization data"),
    ("by the data's mean image", "--data.normalization mean_image"),
    ("none, values of 0..1", "--data.normalization none"),
]
NETWORK = [
    ("softsign in place of ReLU", "--model.activation softsign"),
    ("Maxout", "--model.activation maxout"),
    ("fractional max pooling", "--model.pooling fractional"),
]
BLOCKS = "--model.mixing.patchup_block 3 --model.mixing.layers [input,layer1,layer2]"
MIXING = [
    ("MixUp", "--model.mixup 0.2", "adds", True),
    ("CutMix", "--model.cutmix 1", "adds", True),
    ("manifold mixup", "--model.mixing.manifold_mixup 2"),
    ("PatchUp, hard", f"--model.mixing.patchup_hard 0.5 {BLOCKS}"),
    ("PatchUp, soft", f"--model.mixing.patchup_soft 0.75 {BLOCKS}"),
    ("PuzzleMix", "--model.mixing.puzzlemix 1"),
    ("PuzzleMix, independent cells", "--model.mixing.puzzlemix 1 --model.mixing.puzzlemix_solver independent"),
]
LOSS = [
    ("hinge", "--model.head.loss hinge"),
    ("squared hinge", "--model.head.loss squared_hinge"),
    ("squared error", "--model.head.loss squared_error"),
    ("focal", "--model.head.loss focal"),
    ("binary", "--model.head.loss binary"),
    ("label smoothing over all", "--model.head.label_smoothing 0.1"),
    ("label smoothing over others", "--model.head.label_smoothing 0.1 --model.head.smooth_over others"),
]
REGULARIZATION = [
    Technique("decoupled weight decay", "regularization", "--model.optim.weight_decay 0", "removes", same_step=True),
    Technique("L2 in the loss", "regularization", "--model.optim.decay loss --model.optim.weight_decay 5e-4"),
    Technique("L1", "regularization", "--model.optim.l1 1e-5 --model.optim.weight_decay 0"),
    Technique(
        "elastic net",
        "regularization",
        "--model.optim.l1 1e-5 --model.optim.decay loss --model.optim.weight_decay 5e-4",
    ),
    Technique("dropout", "regularization", "--model.head.dropout 0.2", same_step=True),
    Technique("stochastic depth", "regularization", "--model.drop_path 0.1", same_step=True),
    Technique("DropBlock", "regularization", "--model.drop_block 0.1"),
    Technique("gradient clipping", "regularization", "--trainer.gradient_clip_val 1"),
]
INITIALIZATION = {
    "zeros": "zeros",
    "Gaussian": "gaussian",
    "Xavier": "xavier_normal",
    "Kaiming": "kaiming_normal",
    "1 / sqrt(fan_in)": "fan_in",
    "LSUV": "lsuv",
}
OPTIMIZERS = [
    _optimizer("SGD with momentum", "SGD --model.optim.optimizer.momentum 0.9 --model.optim.lr 0.1", 5e-4),
    _optimizer(
        "SGD with Nesterov momentum",
        "SGD --model.optim.optimizer.momentum 0.9 --model.optim.optimizer.nesterov true --model.optim.lr 0.1",
        5e-4,
    ),
    _optimizer("AMSGrad", "AdamW --model.optim.optimizer.amsgrad true", 0.05),
    _optimizer("Adagrad", "Adagrad --model.optim.lr 0.01", 0),
    _optimizer("RMSprop", "RMSprop --model.optim.lr 0.001", 0),
    _optimizer("Lion", "Lion --model.optim.lr 1e-3", 0.5),
    _optimizer("LAMB", "Lamb --model.optim.lr 0.005", 0.02),
    _optimizer("Muon", "timm.optim.Muon --model.optim.lr 0.02", 0.05),
    Technique(
        "L-BFGS",
        "optimizer",
        "--model.optim.optimizer LBFGS --model.optim.optimizer.max_iter 4 --model.optim.optimizer.line_search_fn "
        "strong_wolfe --model.optim.lr 1 --model.optim.decay loss --model.optim.weight_decay 5e-4 "
        "--model.optim.schedule constant --model.optim.warmup 0",
    ),
]
PROCEDURE = [
    Technique("warmup", "procedure", "--model.optim.warmup 0", "removes", same_step=True),
    Technique("cosine schedule", "procedure", "--model.optim.schedule constant", "removes", same_step=True),
    Technique("EMA of the weights", "procedure", "--model.ema_decay 0.99"),
    Technique("mean of the last 3 epochs", "procedure", "--model.average_last_epochs 3", same_step=True),
    Technique(
        "SWA",
        "procedure",
        "--trainer.callbacks+ StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.005 "
        "--trainer.callbacks.swa_epoch_start 0.75",
        same_step=True,
    ),
    Technique("SAM", "procedure", "--model.optim.sam 0.05"),
    Technique(
        "adversarial training",
        "procedure",
        "--model.adversarial pgd --model.adversarial_eps 4/255 --model.adversarial_steps 2",
    ),
]
TESTS = {
    "mirror image": "--model.tta.flip true",
    "ten crops": "--model.tta.crops ten --data.image_size 36",
    "dense": "--model.tta.crops dense --data.image_size 40",
    "ensemble of the seeds": f"--model.ensemble {OTHERS}",
}

TECHNIQUES: tuple[Technique, ...] = (
    *(Technique(name, "augmentation", *rest) for name, *rest in AUGMENTATION),
    *(Technique(name, "normalization", *rest, same_step=True) for name, *rest in NORMALIZATION),
    *(Technique(name, "network", *rest) for name, *rest in NETWORK),
    *(Technique(name, "mixing", *rest) for name, *rest in MIXING),
    *(Technique(name, "loss", *rest, same_step=True) for name, *rest in LOSS),
    *REGULARIZATION,
    *(Technique(name, "initialization", f"--model.init {way}", same_step=True) for name, way in INITIALIZATION.items()),
    *OPTIMIZERS,
    *PROCEDURE,
    *(Technique(name, "test time", options, "tests", same_step=True) for name, options in TESTS.items()),
)
