"""Attribution maps: speed beside captum in one run, and truth on the built-in world.

    python -m benchmarks.explanations speed
    python -m benchmarks.explanations truth --ckpt_path RUN      # of a classification of Shapes

`speed`: occlusion of a 224 x 224 image by ResNet-18, window and stride 16, and Grad-CAM of images relative to their
prediction. `truth`: pointing game, energy, deletion and random weights of test scenes whose objects are known.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from commands.explain.scores import judge
from commands.predictor import Predictor
from datamodules.synthetic.render import render
from datamodules.synthetic.shapes import FIRST, WORLD
from datamodules.synthetic.world import scene
from modules.backbones import Timm
from modules.backbones.fold_batchnorm import folded
from modules.insight.cams import CAMS, cam
from modules.insight.methods import METHODS, Options
from modules.insight.perturbation import occlusion
from modules.insight.subject import Subject


def seconds(work: Callable[[], object], times: int) -> float:
    """Least of several times."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def speed(times: int, images: int) -> None:
    """Print seconds, and their ratios."""
    from captum.attr import Occlusion

    torch.manual_seed(0)
    backbone = Timm("resnet18").eval()
    head = torch.nn.Linear(512, 10)
    plain = torch.nn.Sequential(backbone.net, head).eval()
    fast = folded(backbone).to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, 224, 224)

    def score(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return head(fast.pool(fast(inputs)))[:, 3]

    batch = image.repeat(images, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    ours = Subject(batch[:1], score, torch.nn.ModuleDict({"backbone": fast, "head": head}), fast)
    map_ = occlusion(ours, (16, 16), (16, 16))
    theirs = Occlusion(plain)
    settings = {"sliding_window_shapes": (3, 16, 16), "strides": (3, 16, 16), "target": 3}
    with torch.no_grad():
        expected = theirs.attribute(image, **settings)[0, 0]
        spent = {
            "occlusion": seconds(lambda: occlusion(ours, (16, 16), (16, 16)), times),
            "captum": seconds(lambda: theirs.attribute(image, **settings), times),
            "captum, 32 at once": seconds(
                lambda: theirs.attribute(image, **settings, perturbations_per_eval=32), times
            ),
        }
    print(f"largest difference of the maps: {float((map_[0] - expected).abs().max() / expected.abs().max()):.1e}")
    for name, value in spent.items():
        print(f"{name}: {value:.2f} s, {value / spent['occlusion']:.2f} x ours")
    many = Subject(batch, score, ours.network, fast)
    with torch.no_grad():
        prediction = seconds(lambda: many.scores(batch, many.rows), times)
    found = seconds(lambda: cam(many, CAMS["gradcam"], "-1"), times)
    print(f"Grad-CAM of {images} images: {found:.2f} s, {found / prediction:.2f} x their prediction")


def truth(run: str, count: int) -> None:
    """Print a line for each method and measure."""
    predictor = Predictor.load(run, "--trainer.precision", "32")
    size, task = predictor.data.image_size, predictor.task
    scenes = [scene(WORLD, FIRST["test"] + i) for i in range(count)]
    drawn = [render(one, size) for one in scenes]
    masks = [torch.from_numpy(ids == one.main + 1) for one, (_, ids) in zip(scenes, drawn, strict=True)]
    pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    targets = [one.things[one.main].shape for one in scenes]
    with torch.no_grad():
        batch = {"image": task.normalized(pixels)}
        right = [i for i, found in enumerate(task.targets(batch)) if found == targets[i]]
    print(f"{len(right)} of {count} scenes are classified rightly, and explained")
    batch, targets, masks = {"image": batch["image"][right]}, [targets[i] for i in right], [masks[i] for i in right]
    subject, options = Subject.of(task.target_score, batch, targets, task.explained), Options()
    methods = ("gradcam", "integrated_gradients", "occlusion")

    def again(name: str) -> torch.Tensor:
        return METHODS[name](subject, options).detach()

    found = judge(subject, {name: again(name) for name in methods}, masks, again, 1, 0)
    for row in found.results("test", [str(i) for i in right]):
        low, high = row.interval or (float("nan"), float("nan"))
        print(f"{row.metric}: {row.value:.3f} [{low:.3f}, {high:.3f}]")


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("speed", "truth"))
    parser.add_argument("--ckpt_path", default="runs/classification/latest")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--times", type=int, default=2)
    own = parser.parse_args()
    speed(own.times, own.count) if own.part == "speed" else truth(own.ckpt_path, own.count)


if __name__ == "__main__":
    main()
