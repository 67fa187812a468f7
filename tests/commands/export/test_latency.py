"""Latency of an export takes few runs of a slow network."""

import itertools

import pytest

from commands.export import gate


@pytest.mark.parametrize(("seconds", "runs"), [(1e-3, gate.TIMED), (0.5, 9), (60.0, gate.LEAST_TIMED)])
def test_a_slow_network_is_timed_by_few_runs(monkeypatch, seconds, runs):
    taken = []
    monkeypatch.setattr("time.perf_counter", itertools.count(step=seconds).__next__)
    assert gate.latency(lambda samples: taken.append(samples), [1, 2]) == pytest.approx(1000 * seconds)
    assert len(taken) == 1 + runs
