"""Machine translation: loss, shared embeddings, decoding."""

import pytest
import torch
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader

from modules.contracts import ConfigError
from modules.text.recurrent import RecurrentDecoder, RecurrentEncoder
from modules.text.search import Search, greedy
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, EOS, PAD
from modules.text.transformer import TransformerDecoder, TransformerEncoder
from modules.training.optim import Optim
from tasks import Translation
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

ENGLISH = ["a red circle", "two blue stars see a ring", "the stars", "a ring sees two circles"]
GERMAN = ["ein roter kreis", "zwei blaue sterne sehen einen ring", "die sterne", "ein ring sieht zwei kreise"]


@pytest.fixture(scope="module")
def languages() -> list[str]:
    return [Tokenizer.train(texts, "words", 100).to_json() for texts in (ENGLISH, GERMAN)]


def translation(tokenizers: list[str], **settings) -> Translation:
    def encoder(size: int) -> TransformerEncoder:
        return TransformerEncoder(size, 32, 1, 2, 64)

    def decoder(size: int, memory: int) -> TransformerDecoder:
        return TransformerDecoder(size, memory, 32, 1, 2, 64)

    return Translation(tokenizers=tokenizers, **{"encoder": encoder, "decoder": decoder} | settings)


def batch(task: Translation) -> dict:
    def padded(rows: list[list[int]]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), batch_first=True, padding_value=PAD)

    source = [[*ids, EOS] for ids in task.tokenizers[0].encode(ENGLISH)]
    target = [[BOS, *ids, EOS] for ids in task.tokenizers[-1].encode(GERMAN)]
    ids = [f"{i}" for i in range(4)]
    return {
        "source": padded(source),
        "target": padded(target),
        "source_text": ENGLISH,
        "target_text": GERMAN,
        "id": ids,
    }


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_loss_is_cross_entropy_per_target_token_and_padding_changes_nothing(languages, recurrent):
    parts = {"encoder": lambda size: RecurrentEncoder(size, 32), "decoder": lambda *sizes: RecurrentDecoder(*sizes, 32)}
    task = translation(languages, label_smoothing=0.1, **(parts if recurrent else {})).eval()
    samples = batch(task)
    memory = task.memory(samples)
    logits, said = task.decoder(samples["target"][:, :-1], memory), samples["target"][:, 1:]
    by_hand = cross_entropy(logits.flatten(0, 1), said.flatten(), ignore_index=PAD, label_smoothing=0.1)
    loss = task.costs(samples, memory)["loss"]
    torch.testing.assert_close(loss, by_hand)
    wider = samples | {key: pad(samples[key], (0, 5), value=PAD) for key in ("source", "target")}
    torch.testing.assert_close(task.costs(wider, task.memory(wider))["loss"], loss)


@pytest.mark.parametrize("recurrent", [False, True])
def test_without_teacher_forcing_the_decoder_reads_what_it_says_itself(languages, recurrent):
    parts = {"encoder": lambda size: RecurrentEncoder(size, 32), "decoder": lambda *sizes: RecurrentDecoder(*sizes, 32)}
    task = translation(languages, teacher_forcing=0.0, **(parts if recurrent else {})).eval()
    samples = batch(task)
    memory, given = task.memory(samples), samples["target"][:, :-1]
    own = task.decoder(given, memory).argmax(2)
    read = task.tokens_read(samples, memory)
    assert (read[:, 0] == BOS).all() and torch.equal(read == PAD, given == PAD)
    assert torch.equal(read[:, 1:], torch.where(given[:, 1:] == PAD, PAD, own[:, :-1]))
    assert not torch.equal(read, given)
    loss = task.costs(samples, memory)["loss"]
    logits, said = task.decoder(read, memory).flatten(0, 1), samples["target"][:, 1:].flatten()
    torch.testing.assert_close(loss, cross_entropy(logits, said, ignore_index=PAD, label_smoothing=0.1))


def test_teacher_forcing_is_the_share_of_the_targets_tokens(languages):
    task = translation(languages, teacher_forcing=0.75).eval()
    samples = batch(task)
    memory = task.memory(samples)
    given = torch.randint(4, len(task.tokenizers[-1]), (4, 251))
    own = task.decoder(given[:, :-1], memory).argmax(2)[:, :-1]
    kept = (task.tokens_read({"target": given}, memory)[:, 1:] == given[:, 1:-1])[own != given[:, 1:-1]]
    assert kept.float().mean() == pytest.approx(0.75, abs=0.06)  # about 4 standard errors
    with refuses(ConfigError, "teacher_forcing", "1.5"):
        translation(languages, teacher_forcing=1.5)
    assert torch.equal(translation(languages).tokens_read(samples, None), samples["target"][:, :-1])


def test_one_vocabulary_has_one_embedding_unless_it_is_not_wanted(languages):
    joint = Tokenizer.train(ENGLISH + GERMAN, "words", 100).to_json()
    three_way = translation([joint, joint])
    assert three_way.encoder.embedding.weight is three_way.decoder.embedding.weight is three_way.decoder.output.weight
    apart = translation([joint, joint], shared=False)
    assert apart.encoder.embedding.weight is not apart.decoder.embedding.weight
    assert translation(languages).encoder.embedding.weight is not translation(languages).decoder.embedding.weight


@pytest.mark.parametrize("recurrent", [False, True])
def test_four_sentences_are_learned_by_heart_and_written(languages, recurrent):
    torch.manual_seed(0)
    parts = {"encoder": lambda size: RecurrentEncoder(size, 32), "decoder": lambda *sizes: RecurrentDecoder(*sizes, 32)}
    task = translation(languages, label_smoothing=0, optim=Optim(lr=0.01, warmup=0), **(parts if recurrent else {}))
    samples = batch(task)
    loader = DataLoader([samples] * 150, batch_size=None, collate_fn=dict)
    quiet(max_epochs=1).fit(task, loader)
    task.eval()
    with torch.no_grad():
        answer = task.predict_step(samples, 0)
        memory = task.memory(samples)
        looked = task.attention(greedy(task.decoder, memory), memory, samples)
    assert answer["text"] == GERMAN
    for weights, pieces, source in zip(looked["attention"], looked["pieces"], looked["source_pieces"], strict=True):
        assert weights.shape == (len(pieces), len(source)) and source[-1] == "<eos>"
        torch.testing.assert_close(weights.sum(1), torch.ones(len(pieces)))


def test_empty_lines_stay_empty_and_the_best_few_come_in_order(languages):
    task = translation(languages, search=Search(num_beams=4, num_return_sequences=3, max_length=8)).eval()
    samples = batch(task) | {"source_text": ["a red circle", "", "the stars", ""]}
    with torch.no_grad():
        answer = task.predict_step(samples, 0)
    assert [text == "" for text in answer["text"]][1::2] == [True, True]
    assert [len(texts) for texts in answer["alternatives"]] == [3, 0, 3, 0]
    assert [texts[0] for texts in answer["alternatives"][::2]] == answer["text"][::2]


def test_perplexity_and_unfinished_texts_are_counted(languages):
    task = translation(languages, search=Search(num_beams=1, max_length=2))
    samples = batch(task)
    trainer = quiet()
    trainer.validate(task, DataLoader([samples], batch_size=None, collate_fn=dict), verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    task.eval()
    with torch.no_grad():
        logits = task.decoder(samples["target"][:, :-1], task.memory(samples))
    entropy = cross_entropy(logits.flatten(0, 1), samples["target"][:, 1:].flatten(), ignore_index=PAD)
    assert found["val/perplexity"] == pytest.approx(entropy.exp().item(), rel=1e-5)
    assert found["val/unfinished"] == 1.0


def test_without_tokenizers_there_is_nothing_to_say():
    with refuses(ConfigError, "Translation", "model.tokenizers"):
        Translation()


def test_validation_between_epochs_is_greedy_and_named_apart(languages):
    task = translation(languages, search=Search(num_beams=3, max_length=4))
    trainer = quiet(max_epochs=1, limit_val_batches=1)
    loader = DataLoader([batch(task)], batch_size=None, collate_fn=dict)
    trainer.fit(task, loader, loader)
    found = {name for name in trainer.callback_metrics if name.startswith("val/")}
    assert {"val/bleu_greedy", "val/unfinished_greedy", "val/perplexity"} <= found and "val/bleu" not in found
    assert task.monitor in found and task.fallback in found
    assert {name.removeprefix("val/") for name in found} <= task.protocols.keys()
    trainer.validate(task, loader, verbose=False)
    assert {"val/bleu", "val/chrf"} <= trainer.callback_metrics.keys()
