"""Automatic precision, for hardware of every kind."""

import pytest

from modules.training.precision import Hardware, choose, detect, unified
from tests.helpers.errors import assert_named

AVX512_BF16, AMX = Hardware(cpu=("AVX512-BF16",)), Hardware(cpu=("AMX",))
NEITHER, BF16_GPU, OLD_GPU, APPLE = Hardware(), Hardware(cuda=True), Hardware(cuda=False), Hardware(mps=True)


@pytest.mark.parametrize(
    ("hardware", "accelerator", "precision", "named"),
    [
        (AVX512_BF16, "auto", "bf16-mixed", "AVX512-BF16"),
        (AMX, "cpu", "bf16-mixed", "AMX"),
        (NEITHER, "auto", "32-true", "bf16"),
        (BF16_GPU, "auto", "bf16-mixed", "GPU"),
        (BF16_GPU, "gpu", "bf16-mixed", "GPU"),
        (BF16_GPU, "cpu", "32-true", "bf16"),
        (OLD_GPU, "cuda", "16-mixed", "float16"),
        (Hardware(cpu=("AMX",), cuda=False), "cpu", "bf16-mixed", "AMX"),
        (APPLE, "auto", "32-true", "mps"),
        (Hardware(cpu=("AMX",), mps=True), "mps", "32-true", "mps"),
        (AMX, "tpu", "32-true", "tpu"),
    ],
)
def test_auto_follows_the_hardware(hardware, accelerator, precision, named):
    choice = choose("auto", accelerator, hardware)
    assert choice.precision == precision
    assert_named(choice.reason, "auto", named)


@pytest.mark.parametrize("hardware", [AMX, NEITHER, BF16_GPU, OLD_GPU, APPLE])
@pytest.mark.parametrize(
    ("typed", "name"), [(32, "32-true"), ("bf16", "bf16-mixed"), ("64-true", "64-true"), (None, "32-true")]
)
def test_a_typed_precision_wins(hardware, typed, name):
    assert choose(typed, "auto", hardware, before="16-mixed").precision == name


def test_a_typed_precision_that_is_emulated_is_said():
    for typed, accelerator, hardware in (("bf16-mixed", "auto", NEITHER), ("bf16-true", "gpu", OLD_GPU)):
        assert_named(choose(typed, accelerator, hardware).reason, "bf16", "float32")
    assert "bf16" not in choose("bf16-mixed", "auto", AMX).reason + choose("32", "auto", NEITHER).reason


@pytest.mark.parametrize("hardware", [AMX, NEITHER, BF16_GPU])
def test_float16_on_a_cpu_is_bf16_and_said(hardware):
    for typed in ("16-mixed", 16, "16"):
        choice = choose(typed, "cpu", hardware)
        assert choice.precision == "bf16-mixed"
        assert_named(choice.reason, "16-mixed", "bf16-mixed", "CPU")
    assert choose("16-mixed", "gpu", BF16_GPU) == ("16-mixed", "as set")


@pytest.mark.parametrize(
    ("before", "hardware", "precision"),
    [
        ("32-true", AMX, "32-true"),
        ("bf16-mixed", AMX, "bf16-mixed"),
        ("bf16-mixed", NEITHER, "32-true"),
        ("16-mixed", NEITHER, "32-true"),
        ("16-mixed", BF16_GPU, "16-mixed"),
        ("auto", AMX, "bf16-mixed"),
        (None, AMX, "bf16-mixed"),
    ],
)
def test_a_resumed_run_keeps_its_precision_unless_that_is_emulated_here(before, hardware, precision):
    assert choose("auto", "auto", hardware, before).precision == precision


def test_this_machine_is_known_and_a_held_back_cpu_is_believed(monkeypatch):
    assert set(detect().cpu) <= {"AVX512-BF16", "AMX"}
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert detect().cpu == ()


def test_short_names_are_completed():
    assert [unified(name) for name in (32, "32", "bf16", "16", "bf16-true", "auto", None)] == [
        *("32-true", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "auto", None)
    ]
