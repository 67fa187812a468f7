"""Text of exported files with NumPy alone: vocabularies and search equal those of the tasks."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from commands.export.beam_search import search
from commands.export.vocabulary import Vocabulary
from modules.export.text import source_graphs, step_graph
from modules.export.unpacked import Unpacked
from modules.text.encoder import EncoderOutput
from modules.text.recurrent import RecurrentDecoder, RecurrentEncoder
from modules.text.search import Search
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import PAD
from modules.text.transformer import TransformerDecoder, TransformerEncoder

TEXTS = [
    "A red dog, left of the (blue) cat.",
    "the  cat's «hat» — über 3 Dächer!",
    "naïve cafe\u0301 ##x ▁y <eos> ##",
    "",
]
DECODERS = {"transformer": TransformerDecoder, "recurrent": RecurrentDecoder, "tell": ShowAttendTell}


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "words", "characters"])
def test_vocabularies_equal_those_of_the_library(kind):
    tokenizer = Tokenizer.train(TEXTS[:2] * 3, kind, 60)
    own = Vocabulary(tokenizer.to_json())
    for text in [*TEXTS, "Qx dogcat's, red\t ▁▁", "日本 §"]:
        ids = own.encode(text)
        assert ids == tokenizer.encode([text])[0]
        assert own.decode(ids) == tokenizer.decode([ids])[0]
    random = np.random.default_rng(0)
    for _ in range(20):
        ids = random.integers(3, len(tokenizer), 9).tolist()
        assert own.decode(ids) == tokenizer.decode([ids])[0]


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 1},
        {"num_beams": 4, "num_return_sequences": 3},
        {"num_beams": 3, "length_penalty": 0.0, "min_length": 3, "no_repeat_ngram_size": 2},
    ],
)
def test_texts_equal_those_of_the_search(name, settings):
    how = Search(**{"max_length": 9, **settings})
    sizes = {"width": 16, "layers": 2, "heads": 2} if name == "transformer" else {"width": 16}
    decoder = DECODERS[name](12, 8, **sizes).eval()
    memories = [
        EncoderOutput(torch.randn(n, s, 8), torch.arange(s).expand(n, s) >= s - torch.arange(n)[:, None])
        for n, s in ((4, 6), (5, 7))
    ]
    graph, names = step_graph(decoder, (memories[0], memories[1]))

    def step(tokens, state):
        with torch.no_grad():
            made = graph.module(torch.from_numpy(tokens), *(torch.from_numpy(state[key]) for key in names))
        new = dict(zip(graph.outputs, (value.numpy() for value in made), strict=True))
        return new.pop("logs"), {key.removeprefix("new_"): value for key, value in new.items()}

    with torch.no_grad():
        start = [value for values in decoder.start(memories[0]).values() for value in values]
    found = search(step, dict(zip(names, (value.numpy() for value in start), strict=True)), asdict(how))
    wanted = how(decoder, memories[0])
    assert [[(one.tokens, one.finished) for one in several] for several in found] == [
        [(one.tokens, one.finished) for one in several] for several in wanted
    ]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_recurrent_encoders_do_without_packed_sequences(cell):
    encoder = RecurrentEncoder(20, 16, 2, cell).eval()
    tokens = torch.randint(4, 20, (3, 7))
    tokens[0, 5:] = tokens[2, 1:] = PAD
    with torch.no_grad():
        found, wanted = Unpacked(encoder)(tokens), encoder(tokens)
    torch.testing.assert_close(found.states, wanted.states)
    torch.testing.assert_close(found.last, wanted.last)


def test_a_translation_starts_the_same_for_any_length():
    encoder, decoder = TransformerEncoder(12, 16, 1, 2).eval(), TransformerDecoder(12, 16, 16, 1, 2).eval()
    graphs = source_graphs(encoder, decoder, {}, 20)
    source = torch.randint(4, 12, (3, 300))  # beyond the positions of training
    with torch.no_grad():
        found = graphs["model"].module(source)
        wanted = [value for values in decoder.start(encoder(source)).values() for value in values]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, wanted, strict=True))
