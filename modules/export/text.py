"""Graphs of text generation: a source to the first state of a decoder, and one step of the decoder with its cache."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from modules.backbones.fold_batchnorm import folded
from modules.contracts import Backbone, ConfigError
from modules.export.graph import Graph, image_graph
from modules.export.preprocess import Geometry, Preprocess
from modules.export.unpacked import Unpacked
from modules.text.decoder import Decoder, State
from modules.text.embedding import Placed, sinusoids
from modules.text.encoder import EncoderOutput
from modules.text.recurrent import RecurrentEncoder
from modules.text.search import Search

POSITIONS = 1024  # sinusoidal ones in a file, at least

SHARED = "source"


class LookedUp(nn.Module):
    """The positions of `Placed` by a look-up whose length a traced graph leaves free."""

    def __init__(self, placed: Placed, length: int):
        super().__init__()
        table = placed.table.detach()
        self.scale = placed.scale
        self.register_buffer("table", table.clone() if placed.learned else sinusoids(length, table.shape[1]))

    def forward(self, embedded: Tensor, first: int = 0) -> Tensor:
        places = torch.arange(embedded.shape[1], device=embedded.device) + first
        return self.table.index_select(0, places) + self.scale * embedded


class SourceStart(nn.Module):
    """Tokens int64 (B, S), right-padded with PAD, to the first state of a decoder."""

    def __init__(self, encoder: nn.Module, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        return flat(self.decoder.start(self.encoder(source)))


class ImageStart(nn.Module):
    """Normalized images (B, C, h, w) to the first state of a decoder."""

    def __init__(self, encoder: nn.Module, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, ...]:
        return flat(self.decoder.start(self.encoder(image)))


def flat(state: State) -> tuple[Tensor, ...]:
    """Tensors of a state in their order."""
    return tuple(value for values in state.values() for value in values)


class MapEncoder(nn.Module):
    """A map of a backbone as encoder output.

    Args:
        backbone: of images.
        level: of the map.
        coord_conv: append coordinates.
    """

    def __init__(self, backbone: Backbone, level: int, coord_conv: bool):
        super().__init__()
        self.backbone, self.level, self.coord_conv = backbone, level, coord_conv

    def forward(self, image: Tensor) -> EncoderOutput:
        return EncoderOutput.from_map(self.backbone(image)[self.level].float(), self.coord_conv)


class Step(nn.Module):
    """One more token int64 (R,) of R hypotheses, each with its state; a source's part is repeated for its hypotheses.

    Gives log-probabilities float32 (R, V) of the next token, and the new state without the source's part.

    Args:
        decoder: of the text.
        counts: tensors of the state by its keys.
    """

    def __init__(self, decoder: Decoder, counts: dict[str, int]):
        super().__init__()
        self.decoder, self.counts = decoder, counts

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        for value in state:
            torch._check(value.shape[0] == tokens.shape[0])
        rest = iter(state)
        known = {key: [next(rest) for _ in range(count)] for key, count in self.counts.items()}
        logits, after = self.decoder.step(tokens, known)
        new = [value for key in self.counts if key != SHARED for value in after[key]]
        return (logits.float().log_softmax(1), *new)


def for_export(network: nn.Module, length: int) -> Any:
    """A copy for inference whose positions are looked up; sinusoidal ones reach `length`."""
    network = deepcopy(network).eval().requires_grad_(False)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Placed):
                setattr(parent, name, LookedUp(child, max(length, POSITIONS)))
    return network


def check_search(search: Search) -> None:
    """Check that a file can search like this.

    Raises:
        ConfigError: it draws tokens at random.
    """
    if search.temperature:
        raise ConfigError(
            f"model.search.temperature is {search.temperature:g}, but an exported file does not draw tokens at random: "
            f"set --model.search.temperature 0"
        )


def step_graph(decoder: Decoder, memories: tuple[EncoderOutput, EncoderOutput]) -> tuple[Graph, list[str]]:
    """Graph of a decoder step, and the names of the tensors of its state.

    Args:
        decoder: of `for_export`.
        memories: two of different numbers of sources, and of places where those are free.
    """
    states: list[State] = []
    with torch.no_grad():
        for steps, memory in zip((2, 3), memories, strict=True):
            state = decoder.start(memory)
            for _ in range(steps):
                _, state = decoder.step(torch.ones(len(memory.states), dtype=torch.int64), state)
            states.append(state)
    counts = {key: len(values) for key, values in states[0].items()}
    inputs = {"tokens": torch.ones(len(memories[0].states), dtype=torch.int64)}
    dynamic = {"tokens": {0: "rows"}}
    for key in counts:
        for i, (one, other) in enumerate(zip(states[0][key], states[1][key], strict=True)):
            name = f"{key}_{i}"
            inputs[name] = one.clone().contiguous()
            free = [axis for axis in range(one.ndim) if one.shape[axis] != other.shape[axis]]
            dynamic[name] = {axis: "rows" if axis == 0 else "places" if key == SHARED else "written" for axis in free}
    names = [name for name in inputs if name != "tokens"]
    outputs = ["logs", *(f"new_{name}" for name in names if not name.startswith(SHARED))]
    return Graph(Step(decoder, counts).eval(), inputs, outputs, dynamic), names


def source_graphs(encoder: nn.Module, decoder: Decoder, settings: dict[str, Any], length: int) -> dict[str, Graph]:
    """Graphs of a translation: `model` takes `source` int64 (B, S), `decoder` one step.

    Args:
        encoder: of token ids.
        decoder: of the text.
        settings: of the first graph.
        length: tokens of a text at most.
    """
    if isinstance(encoder, RecurrentEncoder):
        encoder = Unpacked(encoder)
    pair = for_export(nn.ModuleList([encoder, decoder]), length)  # together, because they may share an embedding
    sources = [torch.full(shape, 4) for shape in ((2, 5), (3, 7))]
    with torch.no_grad():
        memories = tuple(pair[0](source) for source in sources)
    step, names = step_graph(pair[1], memories)
    free = {"source": {0: "batch", 1: "length"}}
    first = Graph(SourceStart(pair[0], pair[1]).eval(), {"source": sources[0]}, names, free, settings, "text")
    return {"model": first, "decoder": step}


def caption_graphs(
    preprocess: Preprocess,
    backbone: Backbone,
    level: int,
    coord_conv: bool,
    decoder: Decoder,
    settings: dict[str, Any],
) -> dict[str, Graph]:
    """Graphs of captioning: `model` takes `image` uint8 (B, H, W, 3), `decoder` one step.

    Args:
        preprocess: evaluation transform of the data, to one size.
        backbone: of images.
        level: as `MapEncoder`.
        coord_conv: as `MapEncoder`.
        decoder: of the text.
        settings: of the first graph.
    """
    decoder = for_export(decoder, settings["search"]["max_length"])
    encoder, sides = MapEncoder(folded(backbone), level, coord_conv).eval(), preprocess.canvas or (64, 64)
    with torch.no_grad():
        memories = tuple(encoder(torch.zeros(count, backbone.in_channels, *sides)) for count in (2, 3))
    step, names = step_graph(decoder, memories)
    return {
        "model": image_graph(preprocess, backbone, ImageStart(encoder, decoder), names, **settings),
        "decoder": step,
    }
