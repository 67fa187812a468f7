r"""Self-supervised methods on real images beside lightly's: kNN, linear probe, few labels, and images per second.

    OMP_NUM_THREADS=1 python -m benchmarks.pretraining --root CIFAR --out pretraining
    python -m benchmarks.pretraining --root CIFAR --out pretraining --methods simclr vicreg --seeds 1 --epochs 5

Ours is `cli.py fit --config tasks/METHOD.yaml --data ImageFolder --data.root CIFAR --data.image_size 32
--data.val_split 0 --model.small_images true` (timm's test_resnet with a 3x3 stem), on views of `simclr` in place of
`strong`, which suits built-in images. The peer is lightly's modules in a plain loop without logging and checkpoints;
`benchmarks/lightly_methods.py` says what both share. Both read the same files with as many workers, in the precision
that `cli.py` chooses; a pair runs back to back, in turn first. `none` is the untrained backbone.

All are judged by the same code on the images of `test/`: kNN (k 20, T 0.1) and linear probe on frozen features of all
training images, and fine-tuned by `cli.py fit --config tasks/classification.yaml` on some labels, the last weights.
Intervals are of 95 %, over test images and seeds; differences are paired by both. Images per second are those of the
training steps behind the first, with the time that they wait for views, by the clock; and by the time of the processors
in all processes, which says more on a machine that others use too.

Each training is a process of its own and leaves a folder in `--out`; what is finished there is not run again.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from benchmarks.fits import TASKS
from benchmarks.matrix import NONE, ROWS, SUPERVISED
from benchmarks.overhead import WARM_UP, Stopwatch
from benchmarks.precision import automatic
from benchmarks.pretraining_report import LIGHTLY, OURS, Run, markdown, summarize
from benchmarks.report import RESULTS, apart, parser, publish
from benchmarks.simclr_loop import knn, linear_probe, probe, read
from benchmarks.techniques import command
from callbacks.results.uncertainty import TEST_ITEMS
from modules.backbones import Timm
from modules.metrics.bootstrap import Items, load
from modules.metrics.bootstrap.records import means

PEERED = ["simclr", "vicreg", "barlow_twins", "byol", "moco", "swav"]
METHODS = [NONE, *PEERED, *(name for name in ROWS if name not in (NONE, SUPERVISED, "jigsaw", *PEERED))]
WEIGHTS = "backbone.safetensors"


@dataclass(frozen=True)
class Setting:
    """Setting that all runs share.

    Args:
        root: image folder with train/ and test/.
        size: side of the images in pixels.
        epochs: of the pretraining.
        labels: that are fine-tuned on.
        finetuning: epochs of that.
        workers: processes that make views.
        batch_size: of the pretraining; 0 takes that of each YAML.
    """

    root: Path
    size: int
    epochs: int
    labels: int
    finetuning: int
    workers: int
    batch_size: int

    @property
    def images(self) -> list[str]:
        """Options of `cli.py fit` for the data."""
        data = f"--data=ImageFolder --data.image_size={self.size} --data.workers={self.workers} --data.val_split=0"
        return [*data.split(), f"--data.root={self.root}", "--model.small_images=true"]

    def config(self, method: str) -> dict[str, Any]:
        """The method's YAML, with the batch size."""
        found = yaml.safe_load((TASKS / f"{method}.yaml").read_text())
        found["data"]["init_args"]["batch_size"] = self.batch_size or found["data"]["init_args"]["batch_size"]
        return found


def ours(method: str, seed: int, setting: Setting, folder: Path) -> Stopwatch:
    """Pretrain by `cli.py fit`; leaves the backbone in the folder."""
    data = setting.config(method)["data"]["init_args"]
    words = [f"--config={TASKS / method}.yaml", f"--seed_everything={seed}", *setting.images]
    words.append(f"--data.batch_size={data['batch_size']}")
    words += ["--data.augment=simclr"] * (data.get("augment") == "strong")
    words += [f"--data.local_size={setting.size // 2}"] * ("local_views" in data)
    words += [f"--trainer.max_epochs={setting.epochs}", "--trainer.limit_val_batches=0"]
    words += ["--trainer.limit_test_batches=0", "--trainer.callbacks=benchmarks.overhead.Stopwatch"]
    with TemporaryDirectory() as name:
        run = command("fit", *words, f"--run_dir={name}/run")
        shutil.copy(Path(name, "run", WEIGHTS), folder / WEIGHTS)
    return next(one for one in run.trainer.callbacks if type(one).__name__ == "Stopwatch")


def lightly(method: str, seed: int, setting: Setting, folder: Path) -> Stopwatch:
    """Pretrain with lightly's modules; leaves the backbone in the folder."""
    from benchmarks.lightly_methods import train

    torch.manual_seed(seed)
    backbone, watch = train(
        method, setting.config(method), setting.root / "train", setting.size, setting.epochs, setting.workers
    )
    save_file({name: each.contiguous() for name, each in backbone.net.state_dict().items()}, folder / WEIGHTS)
    return watch


def untrained(method: str, seed: int, setting: Setting, folder: Path) -> None:
    """Leave a random backbone in the folder."""
    torch.manual_seed(seed)
    state = Timm("test_resnet", small_images=True).net.state_dict()
    save_file({name: each.contiguous() for name, each in state.items()}, folder / WEIGHTS)


def pretrain(method: str, side: str, seed: int, setting: Setting, folder: Path) -> None:
    """Pretrain and probe a backbone; leaves its weights, `probes.npz` and `run.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    function = untrained if method == NONE else {OURS: ours, LIGHTLY: lightly}[side]
    watch = function(method, seed, setting, folder)
    facts: dict[str, Any] = {"method": method, "side": side, "seed": seed, "precision": automatic()}
    facts["threads"] = torch.get_num_threads()
    if watch:
        batch, steps = setting.config(method)["data"]["init_args"]["batch_size"], len(watch.ends)
        facts |= {"steps": steps, "batch_size": batch, "loss": watch.losses[-1].item()}
        if (counted := steps - WARM_UP) > 0:
            times = watch.run()
            facts |= {"seconds": times.wall, "images_per_s": batch * counted / times.wall}
            facts["images_per_cpu_s"] = batch * counted / times.process
    backbone = Timm("test_resnet", small_images=True).to(memory_format=torch.channels_last)
    backbone.net.load_state_dict(load_file(folder / WEIGHTS))
    training, test = (read(setting.root / split, setting.size, 0) for split in ("train", "test"))
    torch.manual_seed(seed)
    names = "knn", "linear"
    right = dict(zip(names, probe(backbone, training, test, knn, linear_probe), strict=True))
    ids = np.array([f"{number:06d}" for number in range(len(test[1]))])
    Items(ids, means({name: one.double().numpy() for name, one in right.items()})).save(folder / "probes.npz")
    facts |= {name: one.double().mean().item() for name, one in right.items()}
    (folder / "run.json").write_text(json.dumps(facts) + "\n")  # last: the run is finished


def finetune(seed: int, setting: Setting, folder: Path) -> None:
    """Fine-tune a run's backbone on few labels; leaves `finetuned.npz`."""
    with TemporaryDirectory() as name:
        words = [f"--config={TASKS / 'classification.yaml'}", f"--seed_everything={seed}", *setting.images]
        words += [f"--model.weights={folder / WEIGHTS}", f"--data.num_labels={setting.labels}"]
        words += [f"--trainer.max_epochs={setting.finetuning}", "--trainer.limit_val_batches=0"]
        command("fit", *words, f"--run_dir={name}/run")
        shutil.copy(Path(name, "run", TEST_ITEMS), folder / "partial.npz")
    (folder / "partial.npz").replace(folder / "finetuned.npz")


def subset(root: Path, images: int, folder: Path) -> Path:
    """An image folder of links to the first images of each class, `images` in each split."""
    for split in ("train", "test"):
        classes = sorted(each for each in (root / split).iterdir() if each.is_dir())
        for each in classes:
            (folder / split / each.name).mkdir(parents=True, exist_ok=True)
            for file in sorted(each.iterdir())[: -(-images // len(classes))]:
                link = folder / split / each.name / file.name
                if not link.exists():
                    link.symlink_to(file)
    return folder


def sides(method: str, seed: int) -> list[str]:
    """The sides that run a method, in turn first."""
    if method not in PEERED:
        return [OURS]
    return [OURS, LIGHTLY] if seed % 2 == 0 else [LIGHTLY, OURS]


def finished(out: Path) -> list[Run]:
    """The finished runs of a folder."""
    runs = []
    for file in sorted(out.glob("*/run.json")):
        items = {"probes": load(file.with_name("probes.npz"))}
        if (done := file.with_name("finetuned.npz")).is_file():
            items["finetuned"] = load(done)
        runs.append(Run(json.loads(file.read_text()), items))
    return runs


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run what is not finished, and write `pretraining.md`."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
    options.add_argument("--out", type=Path, default=RESULTS / "pretraining", help="folder of runs and table")
    options.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options.add_argument("--epochs", type=int, default=15, help="of the pretraining")
    options.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    options.add_argument("--images", type=int, default=0, help="of each split, as many of each class; 0 takes all")
    options.add_argument("--labels", type=int, default=1000, help="that are fine-tuned on")
    options.add_argument("--finetuning", type=int, default=40, help="epochs of the fine-tuning; 0 leaves it out")
    options.add_argument("--workers", type=int, default=2, help="processes that make views")
    options.add_argument("--batch_size", type=int, default=0, help="of the pretraining; 0 takes that of each YAML")
    args = options.parse_args(argv)
    if find_spec("lightly") is None and {*args.methods} & {*PEERED}:
        options.error('lightly is not installed: pip install -c constraints.txt -e ".[bench]"')
    out = args.out.resolve()
    root = subset(args.root.resolve(), args.images, out / "images") if args.images else args.root.resolve()
    setting = Setting(root, args.size, args.epochs, args.labels, args.finetuning, args.workers, args.batch_size)
    text = ""
    for seed in range(args.seeds):
        todo = [
            (method, side, out / f"{method}_{side}_{seed}") for method in args.methods for side in sides(method, seed)
        ]
        for method, side, folder in todo:
            if not (folder / "run.json").is_file():
                apart(pretrain, method, side, seed, setting, folder)
                print((folder / "run.json").read_text(), end="", flush=True)
        for _, _, folder in todo if args.finetuning else ():
            if not (folder / "finetuned.npz").is_file():
                apart(finetune, seed, setting, folder)
        rows = summarize(finished(out), args.methods)
        text = markdown(rows, args.labels)
        (out / "pretraining.md").write_text(text)
    print(text)
    facts = {"settings": {name: str(value) for name, value in vars(args).items() if name != "json"}}
    return publish("pretraining", args.json, rows=[asdict(row) for row in rows], precision=automatic(), **facts)


if __name__ == "__main__":
    main()
