"""Image captioning: loss, attention, self-critical reward."""

from collections.abc import Callable
from functools import partial

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.insight.methods import METHODS, Options
from modules.insight.subject import Subject
from modules.insight.targets import Word
from modules.metrics.reward import Reward
from modules.text.recurrent import RecurrentDecoder
from modules.text.search import Search
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, EOS, PAD
from modules.text.transformer import TransformerDecoder
from modules.training.optim import Optim
from tasks import Captioning
from tests.helpers.errors import line_naming, refuses
from tests.helpers.training import quiet

CAPTIONS = [
    ["a red dog runs", "red dogs run in a park"],
    ["two blue birds on a tree", "birds"],
    ["a man sits", "a man on a bench in a park"],
    ["green grass", "grass in a park , green"],
]
TELL = partial(ShowAttendTell, width=32, hidden=64, attention=32, dropout=0.1)
WRITE = partial(TransformerDecoder, width=32, layers=2, heads=2, feedforward=64)
READ = partial(RecurrentDecoder, width=32)
DECODERS = {"tell": TELL, "transformer": WRITE, "recurrent": READ, "no attention": partial(READ, attention="none")}


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return Tokenizer.train([text for several in CAPTIONS for text in several], "words", 100)


def captioning(words: Tokenizer, **settings) -> Captioning:
    defaults = {"backbone": "test_resnet", "decoder": TELL, "search": Search(num_beams=2, max_length=12)}
    return Captioning(tokenizers=[words.to_json()], **defaults | settings)


def batch(words: Tokenizer, size: int = 64) -> dict:
    coarse = torch.randint(0, 256, (4, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    image = coarse.repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)  # noise would all look the same
    rows = [torch.tensor([BOS, *ids, EOS]) for ids in words.encode([first for first, _ in CAPTIONS])]
    target = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    return {"image": image, "target": target, "captions": CAPTIONS, "id": [f"{i}.jpg" for i in range(4)]}


class Images(L.LightningDataModule):
    """Data that repeats one batch."""

    def __init__(self, samples: dict, steps: int = 1):
        super().__init__()
        self.samples, self.steps = samples, steps

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.samples] * self.steps, batch_size=None, collate_fn=dict)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([self.samples], batch_size=None, collate_fn=dict)

    test_dataloader = predict_dataloader = val_dataloader

    def cache_features(self, encode: Callable[[Tensor], Tensor], key: str) -> str:
        self.samples["map"] = encode(self.samples.pop("image"))
        return "cached"

    def data_info(self) -> DataInfo:
        return DataInfo("Images", references=lambda: self.samples["captions"], cache_features=self.cache_features)


def kept(task: Captioning) -> list[dict[str, Tensor]]:
    """Loss terms of every training step, in order."""
    found: list[dict[str, Tensor]] = []
    costs = task.costs

    def noting(*inputs) -> dict[str, Tensor]:
        found.append(costs(*inputs))
        return found[-1]

    task.costs = noting
    return found


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_the_loss_is_cross_entropy_per_word_plus_the_regularizer_and_padding_changes_nothing(words, decoder):
    attends = decoder is not DECODERS["no attention"]
    weight = 0.5 if attends else None
    task = captioning(words, decoder=decoder, label_smoothing=0.1, doubly_stochastic_weight=weight).eval()
    samples = batch(words)
    memory = task.memory(samples | {"image": task.normalized(samples["image"])})
    said = samples["target"][:, 1:]
    states, weights = task.decoder.attend(samples["target"][:, :-1], memory)
    logits = task.decoder.output(states).flatten(0, 1)
    by_hand = cross_entropy(logits, said.flatten(), ignore_index=PAD, label_smoothing=0.1)
    if attends:
        looked = weights.masked_fill(said.eq(PAD)[..., None], 0).sum(1)
        by_hand = by_hand + 0.5 * ((1 - looked) ** 2).mean()
    loss = task.costs(samples, memory)["loss"]
    torch.testing.assert_close(loss, by_hand)
    wider = samples | {"target": pad(samples["target"], (0, 5), value=PAD)}
    torch.testing.assert_close(task.costs(wider, memory)["loss"], loss)


def test_show_attend_and_tell_is_regularized_as_its_authors_do_and_others_are_not(words):
    assert captioning(words).doubly_stochastic_weight == captioning(words, decoder=None).doubly_stochastic_weight == 1
    others = [captioning(words, decoder=DECODERS[name]) for name in list(DECODERS)[1:]]
    assert [task.doubly_stochastic_weight for task in others] == [0, 0, 0]
    with refuses(ConfigError, "model.doubly_stochastic_weight", 1, "RecurrentDecoder", "model.decoder"):
        captioning(words, decoder=DECODERS["no attention"], doubly_stochastic_weight=1.0)
    with refuses(ConfigError, "model.doubly_stochastic_weight", -1):
        captioning(words, doubly_stochastic_weight=-1.0)


@pytest.mark.parametrize(("level", "places"), [(-1, (2, 2)), (-2, (4, 4)), (2, (8, 8))])
def test_each_word_has_a_map_of_where_it_looked_at_the_level_that_was_asked_for(words, level, places):
    task = captioning(words, feature_level=level)
    answers, eval_step = [], task.eval_step
    task.eval_step = lambda *inputs: answers.append(eval_step(*inputs))
    quiet().test(task, datamodule=Images(batch(words)), verbose=False)
    (answer,) = answers
    assert len(answer["text"]) == 4
    for looked, pieces in zip(answer["attention"], answer["pieces"], strict=True):
        if pieces:
            assert looked.shape == (len(pieces), *places)
            torch.testing.assert_close(looked.sum((1, 2)), torch.ones(len(pieces)))


def test_a_word_is_explained_by_where_the_decoder_attends(words):
    targets = [Word(ids, len(ids) - 1, len(ids)) for ids in words.encode([first for first, _ in CAPTIONS])]

    def attention(task: Captioning) -> Tensor:
        seen = {"image": task.eval().normalized(batch(words)["image"])}
        subject = Subject.of(task.target_score, seen, targets, task.explained, task.attended)
        return METHODS["attention"](subject, Options())

    found = attention(captioning(words))
    assert found.shape == (4, 2, 2)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(4))
    with refuses(ConfigError, "--method attention", "test_resnet"):
        attention(captioning(words, decoder=DECODERS["no attention"]))


@pytest.mark.parametrize("level", [-1, -2, 0])
def test_what_lies_beyond_the_level_is_not_trained_and_no_device_waits_for_its_gradient(words, level):
    backbone = captioning(words, feature_level=level).backbone
    backbone(torch.rand(2, 3, 64, 64))[level].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in backbone.parameters())
    assert backbone.net.layer4[0].conv1.weight.requires_grad == (level == -1)
    assert not any(p.requires_grad for p in captioning(words, feature_level=level, frozen=True).backbone.parameters())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"feature_level": 7}, ("model.feature_level", 7, "test_resnet", 4, -1)),
        ({"cache_features": True}, ("model.cache_features", "model.frozen")),
    ],
    ids=["no such level", "maps that change"],
)
def test_maps_that_are_not_there_or_change_are_refused(words, settings, names):
    with refuses(ConfigError, *names):
        captioning(words, **settings)


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_a_handful_is_memorized_word_for_word_and_judged_against_all_references(words, decoder):
    task = captioning(words, decoder=decoder, optim=Optim(lr=0.006, warmup=0), label_smoothing=0.0)
    once = quiet(max_epochs=1, gradient_clip_val=1.0)
    once.fit(task, datamodule=Images(batch(words), steps=80))
    once.test(task, datamodule=Images(batch(words)), verbose=False)
    found = {name: value.item() for name, value in once.callback_metrics.items()}
    assert found["test/exact_match"] == 1
    assert [found[f"test/bleu_{n}"] for n in range(1, 5)] == pytest.approx([1] * 4, abs=1e-3)
    assert found["test/cider"] > 1 and found["test/rouge_l"] == 1
    assert found["test/unfinished"] == 0 and found["test/perplexity"] < 1.5
    (said,) = quiet().predict(task, datamodule=Images({"image": batch(words)["image"]}))
    assert said["text"] == [first for first, _ in CAPTIONS]


def test_a_frozen_backbone_keeps_its_weights_and_a_factor_slows_one_that_is_not(words):
    task = captioning(words, frozen=True)
    before = {name: value.clone() for name, value in task.backbone.state_dict().items()}
    quiet(max_epochs=1).fit(task, datamodule=Images(batch(words), steps=3))
    assert all(torch.equal(value, before[name]) for name, value in task.backbone.state_dict().items())
    task = captioning(words, optim=Optim(lr=0.01, backbone=0.1, schedule="constant", warmup=0))
    once = quiet(max_epochs=1)
    once.fit(task, datamodule=Images(batch(words), steps=1))
    rates = {id(p): group["lr"] for group in once.optimizers[0].param_groups for p in group["params"]}
    assert {rates[id(p)] for p in task.backbone.parameters() if p.requires_grad} == {0.01 * 0.1}
    assert {rates[id(p)] for p in task.decoder.parameters()} == {0.01}


def test_training_from_stored_maps_is_training_from_images(words):
    """Equal up to rounding to float16."""
    losses, weights = [], []
    for stored in (False, True):
        torch.manual_seed(0)
        optim = Optim(lr=0.001, schedule="constant", warmup=0)
        task = captioning(words, frozen=True, cache_features=stored, optim=optim)
        samples = batch(words)
        found = kept(task)
        torch.manual_seed(1)  # dropout
        quiet(max_epochs=1, limit_val_batches=0).fit(task, datamodule=Images(samples, steps=10))
        losses.append([cost["loss"].item() for cost in found])
        weights.append(task.decoder.say_state.weight.detach())
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    torch.testing.assert_close(weights[1], weights[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize("decoder", [TELL, partial(READ, cell="lstm")], ids=["tell", "lstm"])
def test_self_critical_training_raises_the_reward(words, decoder, tmp_path, monkeypatch):
    settings = {"decoder": decoder, "frozen": True, "optim": Optim(lr=0.003, schedule="constant", warmup=0)}
    first, samples = captioning(words, **settings), batch(words)
    once = quiet(max_epochs=1)
    once.fit(first, datamodule=Images(samples, steps=10))  # knows a little, so that there is more to learn
    once.save_checkpoint(tmp_path / "first.ckpt")
    alike = captioning(words, **settings | {"search": Search(num_beams=1, max_length=12)})
    (said,) = quiet().predict(alike, datamodule=Images(samples), ckpt_path=tmp_path / "first.ckpt")
    ends = [len(words.encode([text])[0]) < 12 for text in said["text"]]

    many = {key: list(value) * 16 for key, value in samples.items()}  # fewer would be a matter of luck
    many |= {key: torch.stack(many[key]) for key in ("image", "target")}
    settings["optim"] = Optim(lr=0.002, schedule="constant", warmup=0)
    task = captioning(words, **settings, self_critical=str(tmp_path / "first.ckpt"))
    found, lines = kept(task), []
    monkeypatch.setattr("tasks.captioning.rank_zero_info", lines.append)
    quiet(max_epochs=1, gradient_clip_val=1.0).fit(task, datamodule=Images(many, steps=60))
    line_naming(lines, "first.ckpt", "epoch 1")
    begun = Reward(CAPTIONS)(said["text"], ends, CAPTIONS).mean()
    torch.testing.assert_close(found[0]["greedy_reward"], begun)
    rewards = [cost["reward"].item() for cost in found]
    means = [sum(rewards[i : i + 10]) / 10 for i in range(0, 60, 10)]
    assert max(means[1:]) > 1.15 * means[0]  # 1.2 to 2.2 by seed; it may fall again later


def test_self_critical_training_needs_a_run_of_captions_with_the_same_words(words, tmp_path):
    path = tmp_path / "x.ckpt"

    def begin(checkpoint: dict, **settings) -> None:
        torch.save(checkpoint, path)
        task = captioning(words, self_critical=str(path), **settings)
        quiet(max_epochs=1).fit(task, datamodule=Images(batch(words)))

    good = {"task": "Captioning", "hyper_parameters": {"tokenizers": [words.to_json()]}, "epoch": 3}
    good["state_dict"] = captioning(words).state_dict()
    begin(good)
    with refuses(ConfigError, "model.self_critical", path, "Classification", "Captioning"):
        begin(good | {"task": "Classification"})
    other = Tokenizer.train(["something else"], "words", 20).to_json()
    with refuses(ConfigError, "vocabulary", "model.self_critical", path):
        begin(good | {"hyper_parameters": {"tokenizers": [other]}})
    with refuses(ConfigError, "Captioning", "decoder"):
        begin(good, decoder=WRITE)
    with refuses(ConfigError, "model.self_critical", "model.weights"):
        captioning(words, self_critical="run", weights="run")


def test_data_of_another_kind_is_refused(words):
    labels = {"image": batch(words)["image"], "label": torch.zeros(4), "id": ["a"] * 4}
    with refuses(ConfigError, "Captioning", "target", "Images", "label", "--data", "--config"):
        quiet(max_epochs=1).fit(captioning(words), datamodule=Images(labels))
