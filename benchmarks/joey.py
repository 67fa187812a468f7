"""JoeyNMT 2.3 with the pieces, weights and batches of ours, for `benchmarks.translation`.

Model, loss, optimizer, data set, samplers and search are its own. Our token ids are the words of its vocabulary, so
that it splits lines and looks words up, but cuts none into pieces, which its users can do beforehand as well.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from types import SimpleNamespace

import torch
from joeynmt.batch import Batch
from joeynmt.builders import build_optimizer
from joeynmt.datasets import PlaintextDataset
from joeynmt.model import Model, build_model
from joeynmt.search import search
from joeynmt.tokenizers import BasicTokenizer
from joeynmt.transformer_layers import MultiHeadedAttention
from joeynmt.vocabulary import Vocabulary
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.text.encoded import EncodedPairs
from modules import contracts
from modules.text.tokens import BOS, EOS, PAD, UNK
from tasks import Translation

CPU = torch.device("cpu")
SIDES = ("source", "target")
RATE = 0.002
RENAMED = {
    r"^encoder\.embedding": "src_embed.lut",
    r"^decoder\.embedding": "trg_embed.lut",
    r"^decoder\.output": "decoder.output_layer",
    r"^(..coder)\.norm": r"\1.layer_norm",
    r"(encoder.*)self_attn": r"\1src_src_att",
    r"(decoder.*)self_attn": r"\1trg_trg_att",
    r"multihead_attn": "src_trg_att",
    r"out_proj": "output_layer",
    r"linear1": "feed_forward.pwff_layer.0",
    r"linear2": "feed_forward.pwff_layer.3",
    r"(encoder.*)norm1": r"\1layer_norm",
    r"(encoder.*)norm2": r"\1feed_forward.layer_norm",
    r"(decoder.*)norm1": r"\1x_layer_norm",
    r"(decoder.*)norm2": r"\1dec_layer_norm",
    r"(decoder.*)norm3": r"\1feed_forward.layer_norm",
}


def vocabulary(size: int) -> Vocabulary:
    """A vocabulary whose word i is the number i."""
    places = {f"{name}_id": i for i, name in enumerate(("unk", "pad", "bos", "eos"))}
    tokens = {name.replace("id", "token"): str(i) for name, i in places.items()}
    words = Vocabulary(list(map(str, range(size))), SimpleNamespace(**places, **tokens, lang_tags=[], sep_token=None))
    # It knows one order of the special tokens only, but asks these four for their places.
    words.unk_index, words.pad_index, words.bos_index, words.eos_index = UNK, PAD, BOS, EOS
    return words


def network(task: Translation, as_it_comes: bool = False) -> Model:
    """The same Transformer with the same weights: pre-norm, all embeddings tied.

    Args:
        task: ours.
        as_it_comes: with dropout of the weights of attention, which JoeyNMT ties to the dropout of all else; otherwise
            without, as ours.
    """
    for name in ("model", "builders"):
        logging.getLogger(f"joeynmt.{name}").setLevel(logging.WARNING)
    layers, output = task.decoder.layers, task.decoder.output
    feedforward, width = layers[0].linear1.weight.shape
    side = {
        "type": "transformer",
        "layer_norm": "pre",
        "num_layers": len(layers),
        "num_heads": layers[0].self_attn.heads,
        "hidden_size": width,
        "ff_size": feedforward,
        "dropout": layers[0].dropout.p,
        "embeddings": {"embedding_dim": width, "scale": True},
    }
    words = vocabulary(output.out_features)
    model = build_model({"tied_embeddings": True, "tied_softmax": True, "encoder": side, "decoder": side}, words, words)
    model.loss_function = ("crossentropy", task.label_smoothing)
    for part in model.modules():
        if isinstance(part, MultiHeadedAttention) and not as_it_comes:
            part.dropout.p = 0.0
        if isinstance(part, nn.LayerNorm):
            part.eps = task.decoder.norm.eps
    model.load_state_dict(model.state_dict() | dict(_renamed(task)))
    return model


def check(task: Translation, ours: contracts.Batch) -> None:
    """Raise RuntimeError if the two networks give different logits for a batch of ours."""
    seen = ours["target"][:, 1:] != PAD
    with torch.no_grad():
        logits = task.decoder(ours["target"][:, :-1], task.memory(ours))[seen]
        others, *_ = network(task).eval()._encode_decode(**vars(batch(ours)))
    gap = (logits - others[seen]).abs().max().item()
    if gap > 1e-3:
        raise RuntimeError(f"the two sides do not compute the same thing, their logits differ by {gap:.2g}")


def _renamed(task: Translation) -> Iterator[tuple[str, Tensor]]:
    for name, value in task.state_dict().items():
        if not name.startswith(("encoder", "decoder")):
            continue
        for ours, theirs in RENAMED.items():
            name = re.sub(ours, theirs, name)
        if "in_proj_" in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                yield name.replace("in_proj_", f"{letter}_layer."), part
        else:
            yield name, value


class Pairs(PlaintextDataset):
    """Sentence pairs in memory, as words with blanks between."""

    def __init__(self, pairs: EncodedPairs, words: Vocabulary):
        tokenizer = BasicTokenizer("word")
        tokenizer.set_vocab(words)
        shared = (dict.fromkeys(SIDES, value) for value in (False, tokenizer, words.sentences_to_ids))
        super().__init__("", *SIDES, "train", True, *shared, pairs=pairs)

    def load_data(self, path: str, pairs: EncodedPairs) -> dict[str, list[str]]:
        sides = zip(SIDES, (pairs.source, pairs.target), strict=True)
        return {side: [" ".join(map(str, ids[i])) for i in range(len(ids))] for side, ids in sides}

    def batches(self, tokens: int) -> DataLoader:
        """Batches for training, from sentences in random order."""
        return self.make_iter(tokens, "token", shuffle=True, pad_index=PAD, eos_index=EOS)


def batch(ours: contracts.Batch) -> Batch:
    """Convert one of our batches."""
    source = ours["source"]
    rows, lengths = torch.arange(len(source)), source.ne(PAD).sum(1)
    return Batch(source, lengths, None, ours["target"], None, rows, CPU, PAD, EOS)


def train(model: Model, batches: Iterable[Batch]) -> Iterator[int]:
    """Train like its TrainManager, without its log; yields the target tokens of each step."""
    optimizer = build_optimizer({"optimizer": "adam", "learning_rate": RATE}, model.parameters())
    model.train()
    for some in batches:
        some.sort_by_src_length()
        loss, *_ = model(return_type="loss", **vars(some))
        some.normalize(loss, "tokens").backward()
        optimizer.step()
        model.zero_grad()
        yield some.ntokens


def translate(model: Model, batches: Iterable[contracts.Batch], beam: int, alpha: float) -> list[list[int]]:
    """The best of a beam for each sentence, as its `predict` finds it.

    A text is at most 1.5 times as long as the batch's longest source, which is its default.
    """
    texts = []
    for some in map(batch, batches):
        order = some.sort_by_src_length()
        found, *_ = search(model.eval(), some, max_output_length=-1, beam_size=beam, beam_alpha=alpha)
        texts += [list(takewhile(EOS.__ne__, text)) for text in found[order].tolist()]
    return texts
