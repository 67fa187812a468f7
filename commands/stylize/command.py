"""`python cli.py stylize --content FILE --style FILES`: style transfer by optimizing an image (Gatys et al. 2016)."""

import argparse
import math
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from torch import Tensor

from callbacks.terminal import print_line
from commands.network import read_network
from commands.next_commands import command_line
from commands.overview import program
from commands.own_options import OwnOptions
from commands.stylize.images import array, check_size, read
from modules.backbones.size import blank, smallest
from modules.contracts import ConfigError, check_range
from modules.style import Color, Solver, StyleFeatures, StyleWeights, keep_color, stylize
from modules.style.color import match_colors, match_luminance

EVERY = 50  # steps between two lines


class Options(OwnOptions):
    """The command's own options; the rest name the network."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} stylize",
            f"{program()} stylize --content FILE --style FILES --ckpt_path RUN | --model.backbone NAME",
            "Style transfer: changes the pixels of an image until its content, as a network sees it, is that of one "
            "image and its style, the Gram matrices of the network's maps, that of others (Gatys et al. 2016).",
            "The network is the backbone of --ckpt_path, or --model.backbone NAME with --model.weights (a run, a file, "
            "such as VGG's, or nothing for random weights).",
        )
        self.add_argument("--content", required=True, help="image whose content is kept")
        self.add_argument("--style", required=True, help="image whose style is taken; several as a.jpg,b.jpg")
        self.add_argument("--style_weights", help="share of each style, as 1,2; default equal")
        self.add_argument("--ckpt_path", help="a .ckpt file or a run directory of any task with a backbone")
        self.add_argument("--size", type=int, default=256, help="longer side of the result; 0 the content's own")
        self.add_argument("--style_size", type=int, help="longer side of the styles; default that of the result")
        self.add_argument("--steps", type=int, default=300, help="evaluations of losses and gradient")
        self.add_argument("--optimizer", choices=get_args(Solver), default="lbfgs", help="default lbfgs")
        self.add_argument("--lr", type=float, default=0.02, help="learning rate of adam, in pixel values of 0..1")
        self.add_argument("--style_weight", type=float, default=StyleWeights.style, help="of the style loss")
        self.add_argument("--content_weight", type=float, default=StyleWeights.content, help="of the content loss")
        self.add_argument("--tv_weight", type=float, default=StyleWeights.tv, help="of the total variation: smoother")
        self.add_argument("--style_levels", help="of the network's pyramid, as 0,1,2; default all up to stride 16")
        self.add_argument("--content_level", type=int, help="default the finest of stride 4 or more")
        text = "the style's; the content's, whose luminance alone is stylized; or the content's, given to the style"
        self.add_argument("--color", choices=get_args(Color), default="style", help=text)
        self.add_argument("--init", choices=("content", "noise"), default="content", help="first image")
        self.add_argument("--seed_everything", type=int, default=0, help="of that noise, and of random weights")
        self.add_argument("--out", type=Path, default=Path(), help="folder of the result; default here")


def run_stylize(argv: list[str]) -> None:
    """Run the `stylize` command with the arguments after its name.

    Raises:
        ConfigError: a setting, or no network.
        DataError: an image or a checkpoint that cannot be read.
    """
    own, typed = Options().parse_known_args(argv)
    weights, files, shares = check_options(own)
    content = read(own.content, own.size, "--content")
    side = own.style_size or max(content.shape[-2:])
    styles = [read(file, side, "--style") for file in files]
    torch.manual_seed(own.seed_everything)
    network = read_network("stylize", own.ckpt_path, typed)
    levels = None if own.style_levels is None else _integers(own.style_levels, "--style_levels")
    features = StyleFeatures(network.backbone, levels, own.content_level)
    least = smallest(blank(network.backbone))
    check_size(content, least, "--content")
    for style in styles:
        check_size(style, least, "--style")
    print_line(f"network: {network.about}")
    levels = ", ".join(map(str, features.style_levels))
    print_line(f"  style from levels {levels}, content from level {features.content_level}")
    _paint(own, features, content, styles, weights, shares, network.device)


def check_options(own: argparse.Namespace) -> tuple[StyleWeights, list[str], list[float]]:
    """Check the options; returns the weights of the losses, the files of the styles, and their shares.

    Raises:
        ConfigError: one is out of its range.
    """
    for name, low in {"size": 0, "steps": 1, "lr": 1e-9}.items():
        check_range(f"--{name}", getattr(own, name), low)
    if own.style_size is not None:
        check_range("--style_size", own.style_size, 1)
    weights = StyleWeights(own.style_weight, own.content_weight, own.tv_weight)
    weights.check("--")
    files = _files(own)
    shares = [1.0] * len(files)
    if own.style_weights is not None:
        try:
            shares = [float(word) for word in own.style_weights.split(",")]
        except ValueError as error:
            raise ConfigError(f"--style_weights is {own.style_weights!r}, but must be numbers such as 1,2") from error
    if len(shares) != len(files) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise ConfigError(
            f"--style_weights is {own.style_weights!r}, but must be a number of 0 or more for each of {len(files)} "
            f"styles, not all 0"
        )
    return weights, files, [share / sum(shares) for share in shares]


def _files(own: argparse.Namespace) -> list[str]:
    """Files of the styles: one, whose name may have commas, or several."""
    return [own.style] if Path(own.style).expanduser().is_file() else own.style.split(",")


def _integers(text: str, option: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} is {text!r}, but must be whole numbers such as 0,1,2") from error


def _paint(
    own: argparse.Namespace,
    features: StyleFeatures,
    content: Tensor,
    styles: list[Tensor],
    weights: StyleWeights,
    shares: list[float],
    device: torch.device,
) -> None:
    """Optimize the image, and write it with its figure."""
    from callbacks.figures.log import write_figure
    from commands.stylize.drawing import transfer  # matplotlib takes a moment

    seen = content
    if own.color == "luminance":
        seen = match_luminance(content, content)
        used = [match_luminance(style, content) for style in styles]
    else:
        used = [match_colors(style, content) if own.color == "histogram" else style for style in styles]
    grams = [features.style(style.to(device)) for style in used]
    parts = torch.tensor(shares, device=device).view(-1, 1, 1)
    mixed = [(parts * torch.cat(level)).sum(0, keepdim=True) for level in zip(*grams, strict=True)]
    curves: dict[str, list[float]] = {"style": [], "content": []}

    def each(step: int, losses: dict[str, float], image: Tensor) -> None:
        for name, values in curves.items():
            values.append(losses[name])
        if step % EVERY == 0:
            print_line(f"step {step} of {own.steps}: {_losses(curves)}")

    start = torch.rand(content.shape) if own.init == "noise" else seen
    settings: dict[str, Any] = {"steps": own.steps, "solver": own.optimizer, "lr": own.lr, "each": each}
    made = stylize(features, seen.to(device), mixed, weights, start.to(device), **settings)
    with torch.no_grad():
        last = features.losses(made, mixed, features.content(seen.to(device)))
    for name, values in curves.items():
        values.append(last[name].sum().item())
    print_line(f"after {own.steps} steps: {_losses(curves)}")
    made = made.cpu() if own.color != "luminance" else keep_color(made.cpu(), content)
    name = "_".join(Path(file).stem for file in (own.content, *own.style.split(",")))[:100]
    title = f"{features.backbone.name}: style loss 1/{_times(curves['style']):,.0f} in {own.steps} steps"
    drawn = transfer(array(content), [array(style) for style in styles], array(made), curves, title)
    files = {own.out / f"{name}.png": array(made), own.out / f"{name}_steps.png": drawn}
    written = [write_figure(image, path, "--out") for path, image in files.items()]
    print_line(f"written: {', '.join(map(str, written))}")
    names = yaml.safe_dump(_files(own), default_flow_style=True, width=math.inf).strip()
    again = command_line("fit", "--config", "tasks/fast_style.yaml", "--model.styles", names)
    print_line(f"next, one network for {'this style' if len(styles) == 1 else 'these styles'}: {again}")


def _losses(curves: dict[str, list[float]]) -> str:
    style, content = curves["style"], curves["content"]
    return f"style loss {style[-1]:.3g} ({_times(style):,.3g} times less), content loss {content[-1]:.3g}"


def _times(values: list[float]) -> float:
    """First value over the last."""
    return values[0] / max(values[-1], 1e-12)
