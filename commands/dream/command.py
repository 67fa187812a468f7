"""`python cli.py dream --ckpt_path RUN --image FILE`: DeepDream of any layer, as an image and as a film."""

from pathlib import Path

import torch
from torch import Tensor

from callbacks.figures.log import write_figure
from callbacks.terminal import print_line
from callbacks.writers.films import Film
from commands.arguments import once, without
from commands.network import read_network
from commands.next_commands import command_line
from commands.overview import program
from commands.own_options import OwnOptions
from commands.stylize.images import array, check_size, read
from modules.backbones.size import blank, smallest
from modules.contracts import check_range, writing
from modules.insight.dream import Activation, Dream, dream, film


class Options(OwnOptions):
    """The command's own options; the rest name the network."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} dream",
            f"{program()} dream --ckpt_path RUN | --model.backbone NAME [--image FILE] [--layer NAME]",
            "DeepDream: changes an image until a layer of a network sees more of what it sees in it, size by size.",
            "The network is the backbone of --ckpt_path, or --model.backbone NAME with --model.weights.",
        )
        usual = Dream()
        self.add_argument("--image", help="image that the dream begins with; default noise")
        self.add_argument("--ckpt_path", help="a .ckpt file or a run directory of any task with a backbone")
        self.add_argument("--layer", help="name of a layer; default the level of the pyramid before the last")
        self.add_argument("--channel", type=int, help="the only channel that counts; default all")
        self.add_argument("--size", type=int, default=384, help="longer side in pixels; 0 the image's own")
        self.add_argument("--octaves", type=int, default=usual.octaves, help="number of sizes, coarse to fine")
        self.add_argument("--octave_scale", type=float, default=usual.octave_scale, help="from one to the next")
        self.add_argument("--steps", type=int, default=usual.steps, help="of gradient ascent at each size")
        self.add_argument("--lr", type=float, default=usual.lr, help="mean change of a pixel per step, of 0..1")
        self.add_argument("--jitter", type=int, default=usual.jitter, help="largest shift before a step, in pixels")
        self.add_argument("--film", type=int, default=0, help="frames of a film that zooms in and dreams on")
        self.add_argument("--zoom", type=float, default=1.04, help="from frame to frame")
        self.add_argument("--fps", type=int, default=12, help="frames per second")
        self.add_argument("--seed_everything", type=int, default=0, help="of shifts, noise and random weights")
        self.add_argument("--out", type=Path, default=Path(), help="folder of the result; default here")


def run_dream(argv: list[str]) -> None:
    """Run the `dream` command with the arguments after its name.

    Raises:
        ConfigError: a setting, a layer that does not exist, or no network.
        DataError: an image or a checkpoint that cannot be read.
    """
    own, typed = Options().parse_known_args(argv)
    settings = Dream(own.octaves, own.octave_scale, own.steps, own.lr, own.jitter)
    settings.check()
    for name, low in {"size": 0 if own.image else 1, "film": 0, "zoom": 1, "fps": 1}.items():
        check_range(f"--{name}", getattr(own, name), low)
    torch.manual_seed(own.seed_everything)
    network = read_network("dream", own.ckpt_path, typed)
    image = read(own.image, own.size, "--image") if own.image else _noise(own.size)
    least = smallest(blank(network.backbone))
    check_size(image, least, "--image")
    activation = Activation(network.backbone, own.layer, own.channel)
    image = _channels(image, network.backbone.in_channels).to(network.device)
    _, before = activation.gradient(image)
    print_line(f"network: {network.about}")

    def each(number: int, score: float) -> None:
        print_line(f"octave {number + 1} of {settings.octaves}: mean squared activation {score:.3g}")

    made = dream(activation, image, settings, least, each)
    _, after = activation.gradient(made)
    print_line(f"mean squared activation from {before:.3g} to {after:.3g}")
    stem = f"{Path(own.image).stem if own.image else 'noise'}_{own.layer or 'dream'}"
    stem += "" if own.channel is None else f"_{own.channel}"
    written = [write_figure(array(_channels(made, 3)), own.out / f"{stem}.png", "--out")]
    if own.film:
        frames = film(activation, made, own.film, own.zoom, Dream(1, own.octave_scale, own.steps, own.lr, own.jitter))
        written.append(_film(frames, own.out / f"{stem}.mp4", own.fps))
    print_line(f"written: {', '.join(map(str, written))}")
    again = once([*without(argv, "--channel"), "--layer", "NAME", "--film", "48"])
    print_line(f"next, another layer: {command_line('dream', *again)}")


def _noise(side: int) -> Tensor:
    return 0.5 + 0.1 * torch.randn(1, 3, side, side)


def _channels(image: Tensor, count: int) -> Tensor:
    """Color images for a network of three channels, their mean for others; gray for three again."""
    return image if image.shape[1] == count else image.mean(1, keepdim=True).expand(-1, count, -1, -1)


def _film(frames, path: Path, rate: int) -> Path:
    with writing(path, "--out"):
        part = path.with_suffix(".tmp.mp4")
        made = Film(part, rate)
        for frame in frames:
            made.add(array(_channels(frame, 3)))
        made.close()
        part.replace(path)
    return path
