"""Pages of `examples/from_scratch`: gradients by hand against torch's autograd, and each page runs as it stands."""

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from functools import cache
from inspect import signature
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.helpers.commands import ROOT

FOLDER = ROOT / "examples" / "from_scratch"
PAGES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.fixture(scope="module")
def page() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a page from its folder, as `python examples/from_scratch/NAME.py` finds those that it imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module
    for name in PAGES:
        sys.modules.pop(name, None)


def normal(*size: int) -> np.ndarray:
    return np.random.default_rng(size).normal(size=size)


def leaves(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def same(by_hand, by_torch) -> None:
    """Numbers of arrays and tensors are equal but for rounding in float64."""
    for one, other in zip(by_hand, by_torch, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-11)


def gradients(output: Tensor, upstream: np.ndarray, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(output, inputs, torch.tensor(upstream))


@pytest.fixture(scope="module")
def ran(page, tmp_path_factory) -> Callable[[str], tuple[object, str, list[str]]]:
    """Runs a page once: what `main` returns, its lines, and the names of the files that it leaves."""

    @cache
    def run(name: str) -> tuple[object, str, list[str]]:
        folder, lines = tmp_path_factory.mktemp(name), io.StringIO()
        main = page(name).main
        with contextlib.redirect_stdout(lines):
            result = main(folder) if signature(main).parameters else main()
        return result, lines.getvalue(), [path.name for path in folder.iterdir()]

    return run


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_and_prints_and_is_a_page(ran, name):
    _, lines, files = ran(name)
    text = (FOLDER / f"{name}.py").read_text()
    assert lines.count("\n") > 2 and text.count("\n") <= 120
    command = f"\npython examples/from_scratch/{name}.py"
    assert f"{command}      writes {name}.png\n" in text if files else f"{command}\n" in text
    assert files in ([], [f"{name}.png"])


def test_a_wrong_gradient_is_found(page, capsys):
    check = page("gradient_check")
    x = normal(4)
    assert check.report(lambda: float((x**3).sum()), {"x": (x, 3 * x**2)}) < 1e-8
    assert check.report(lambda: float((x**3).sum()), {"x": (x, 3.001 * x**2)}) > 1e-4
    assert x.tolist() == normal(4).tolist()
    assert check.relative_error(np.zeros(2), np.zeros(2)) == 0


@pytest.mark.parametrize("values", [(3.0, -1.0, 5.0, 4.0), (-0.5, 2.0, 1.0, 1.5)])
def test_backpropagation_of_scalars(page, values):
    f, derivatives = page("backpropagation").scalars(*values)
    a, b, c, d = inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    expected = (a * b + torch.max(c, d)) ** 2 + a
    same([f, *derivatives], [expected, *torch.autograd.grad(expected, inputs)])


def test_backpropagation_of_vectors_and_matrices(page):
    pages, x, weight = page("backpropagation"), normal(4), normal(3, 4)
    f, derived = pages.vectors(x, weight)
    tx, tw = leaves(x, weight)
    expected = (tw @ tx).relu().square().sum()
    same([f, *derived], [expected, *torch.autograd.grad(expected, [tx, tw])])
    batch, right, upstream = normal(5, 4), normal(4, 2), normal(5, 2)
    inputs = leaves(batch, right)
    y, derived = pages.matrices(batch, right, upstream)
    same([y, *derived], [inputs[0] @ inputs[1], *gradients(inputs[0] @ inputs[1], upstream, inputs)])


@pytest.mark.parametrize("sizes", [[2, 3], [2, 6, 3], [2, 6, 5, 3]])
def test_networks(page, sizes):
    networks, labels = page("networks"), np.array([0, 2, 1, 1])
    layers, x = networks.initialize(sizes, np.random.default_rng(1)), normal(4, 2)
    loss, by_hand = networks.loss_and_gradients(layers, x, labels, 0.3)
    tensors = leaves(*(array for layer in layers for array in layer))
    out = torch.tensor(x)
    for number in range(0, len(tensors), 2):
        out = (out.relu() if number else out) @ tensors[number] + tensors[number + 1]
    penalty = 0.15 * sum(weight.square().sum() for weight in tensors[::2])
    expected = functional.cross_entropy(out, torch.tensor(labels)) + penalty
    same([loss, *(g for layer in by_hand for g in layer)], [expected, *torch.autograd.grad(expected, tensors)])


def test_hidden_layers_separate_what_lines_do_not(ran):
    line, *deep = ran("networks")[0].values()
    assert line < 0.7 and min(deep) > 0.97


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_convolution(page, stride, padding):
    convolution, arrays = page("convolution"), (normal(2, 3, 7, 6), normal(4, 3, 3, 3), normal(4))
    maps = convolution.forward(*arrays, stride, padding)
    inputs, upstream = leaves(*arrays), normal(*maps.shape)
    expected = functional.conv2d(*inputs, stride, padding)
    same([maps, convolution.by_loops(*arrays, stride, padding)], [expected, expected])
    by_hand = convolution.backward(upstream, *arrays[:2], stride, padding)
    same(by_hand, gradients(expected, upstream, inputs))
    with pytest.raises(ValueError, match="kernel of 5"):
        convolution.output_size(2, 5, padding=1)


def test_batch_norm(page):
    norm, x, gamma, beta, upstream = page("batch_norm"), normal(8, 3), normal(3), normal(1, 3)[0], normal(8, 3) + 1
    library = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    library.load_state_dict(library.state_dict() | {"weight": torch.tensor(gamma), "bias": torch.tensor(beta)})
    out, normalized, known = norm.train(x, gamma, beta, norm.Remembered(np.zeros(3), np.ones(3)))
    (tx,) = leaves(x)
    expected = library(tx)
    same([out, *known], [expected, library.running_mean, library.running_var])
    inputs = [tx, library.weight, library.bias]
    same(norm.backward(upstream, x, normalized, gamma), gradients(expected, upstream, inputs))
    same([norm.evaluate(x, gamma, beta, known)], [library.eval()(tx)])


def test_kernel_attention(page):
    attention, x, y = page("kernel_attention"), normal(7), normal(1, 7)[0]
    loss, slope = attention.loss_and_gradient(1.3, x, y)
    width, tx, ty = torch.tensor(1.3, dtype=torch.float64, requires_grad=True), *map(torch.tensor, (x, y))
    scores = -((tx[:, None] - tx) ** 2) * width**2 / 2
    weights = scores.masked_fill(torch.eye(7, dtype=torch.bool), -torch.inf).softmax(1)
    expected = functional.mse_loss(weights @ ty, ty)
    same([loss, slope], [expected, *torch.autograd.grad(expected, [width])])


def test_kernel_attention_is_dot_product_attention_for_keys_of_one_length(page):
    keys, values = np.array([1.0, -1.0]), normal(2)
    answers, *_ = page("kernel_attention").attend(normal(5), keys, values, 0.8)
    tensors = (torch.tensor(array)[None, :, None] for array in (normal(5), keys, values))
    same([answers], functional.scaled_dot_product_attention(*tensors, scale=0.64).squeeze(-1))


def test_a_learned_kernel_is_nearer_to_the_truth(ran):
    mean, fixed, learned = ran("kernel_attention")[0].values()
    assert learned < 0.2 * fixed < fixed < mean


def additive(query: Tensor, keys: Tensor, values: Tensor, wq: Tensor, wk: Tensor, v: Tensor) -> Tensor:
    """Additive attention as torch computes it."""
    return ((keys @ wk.T + query @ wq.T).tanh() @ v).softmax(0) @ values


def test_additive_attention(page):
    attention = page("additive_attention")
    weights = attention.initialize(3, 4, 5, np.random.default_rng(2))
    query, keys, values, upstream = normal(3), normal(6, 4), normal(6, 2), normal(2)
    context, *kept = attention.attend(query, keys, values, weights, 4)
    assert kept[0][4:].tolist() == [0, 0]
    *by_hand, d_weights = attention.backward(upstream, query, keys, values, weights, *kept)
    inputs = leaves(query, keys, values, *weights)
    expected = additive(inputs[0], inputs[1][:4], inputs[2][:4], *inputs[3:])
    same([context, *by_hand, *d_weights], [expected, *gradients(expected, upstream, inputs)])


def test_additive_attention_learns_to_look_up(ran):
    assert np.mean(ran("additive_attention")[0][-100:]) > 0.9


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_recurrent_cells(page, kind):
    cells, lstm = page("recurrent_cells"), kind == "lstm"
    cell = cells.initialize(3, 4, 4 if lstm else 1, np.random.default_rng(3))
    library = (torch.nn.LSTMCell if lstm else torch.nn.RNNCell)(3, 4, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih")
    given = {name: torch.tensor(array) for name, array in zip(names, cell, strict=True)}
    library.load_state_dict(given | {"bias_hh": torch.zeros_like(library.bias_hh)})
    arrays = [normal(3), normal(4), normal(1, 4)[0]][: 3 if lstm else 2]
    upstream = [normal(4) + 1, normal(4) - 1][: len(arrays) - 1]
    inputs = leaves(*arrays)
    after = library(inputs[0], tuple(inputs[1:]) if lstm else inputs[1])
    after = after if lstm else (after,)
    inputs += [library.weight_ih, library.weight_hh, library.bias_ih]
    expected = torch.autograd.grad(after, inputs, [torch.tensor(part) for part in upstream])
    if lstm:
        out, (*by_hand, weights) = cells.lstm(*arrays, cell), cells.lstm_backward(tuple(upstream), *arrays, cell)
    else:
        out = (cells.rnn(*arrays, cell),)
        *by_hand, weights = cells.rnn_backward(upstream[0], *arrays, out[0], cell)
    same([*out, *by_hand, *weights], [*after, *expected])


def test_gradients_vanish_in_an_rnn_and_survive_in_an_lstm(page):
    reach = page("recurrent_cells").reach
    rnn, lstm = (reach(gates, 30, np.random.default_rng(0), 0.5) for gates in (1, 4))
    assert rnn[30] < 1e-6 and lstm[30] > 0.1


def test_decoder_step(page):
    step = page("decoder_step")
    decoder, encoder, target = step.initialize(6, 5, 4, np.random.default_rng(4)), normal(3, 5), [3, 2, 3, step.EOS]
    loss, by_hand = step.loss_and_gradients(target, encoder, decoder)
    inputs = leaves(*step.arrays(decoder))
    embedding, wq, wk, v, wx, wh, bias, words = inputs
    states, state, expected = torch.tensor(encoder), torch.zeros(4, dtype=torch.float64), 0.0
    for last, wanted in zip([step.BOS, *target], target, strict=False):
        x = torch.cat([embedding[last], additive(state, states, states, wq, wk, v)])
        state = (wx @ x + wh @ state + bias).tanh()
        expected = expected + functional.cross_entropy(words @ state, torch.tensor(wanted))
    same([loss, *by_hand], [expected, *torch.autograd.grad(expected, inputs)])


def test_a_decoder_writes_the_sentence_it_was_taught(ran):
    assert ran("decoder_step")[0] == [2, 3, 4, 5, 2, 6, 1]


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("SGD", lambda x: torch.optim.SGD(x, 0.05)),
        ("momentum", lambda x: torch.optim.SGD(x, 0.05, 0.9)),
        ("AdaGrad", lambda x: torch.optim.Adagrad(x, 0.1)),
        ("RMSprop", lambda x: torch.optim.RMSprop(x, 0.02)),
        ("Adam", lambda x: torch.optim.Adam(x, 0.02)),
    ],
)
def test_optimizers(page, name, library):
    optimizers = page("optimizers")
    path = optimizers.run(optimizers.OPTIMIZERS[name], steps=20)
    (x,) = leaves(np.array([1.0, 1e-3]))
    optimizer = library([x])
    for expected in path:
        same([expected], [x])
        optimizer.zero_grad()
        (2 * x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4).backward()
        optimizer.step()


def test_all_but_sgd_leave_the_saddle_soon(ran):
    needed = ran("optimizers")[0]
    assert max(steps for name, steps in needed.items() if name != "SGD") < needed["SGD"]
