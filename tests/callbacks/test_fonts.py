"""Fonts of figures: system fonts for characters that DejaVu Sans lacks, one report of those without a font."""

import warnings

import numpy as np
import pytest
from matplotlib.font_manager import findSystemFonts

from callbacks.figures import fonts
from callbacks.figures.base import render, titled

HAN = "漢字"


@pytest.fixture
def fresh(monkeypatch):
    """Empty caches of fonts and reports."""
    monkeypatch.setattr(fonts, "_REPORTED", set())
    monkeypatch.setattr(fonts, "_HELPED", [])
    fonts._font_with.cache_clear()
    yield monkeypatch
    fonts._font_with.cache_clear()


def test_latin_needs_no_further_font(fresh):
    assert fonts.font_files("straße, naïve, Ελλάδα") == [fonts._usual()]


@pytest.mark.integration
def test_a_font_of_the_system_draws_what_the_usual_one_lacks(fresh):
    if not any(ord(HAN[0]) in fonts._characters(path) for path in findSystemFonts()):
        pytest.skip("no font of this system has Han characters")
    found = fonts.font_files(HAN)[1]
    assert all(ord(character) in fonts._characters(found) for character in HAN)
    figure, other = titled(200, 60, HAN), titled(200, 60, "\uffff\uffff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.any(render(figure) != render(other))


def test_characters_of_no_font_are_reported_once(fresh, capfd):
    reported = []
    fresh.setattr(fonts, "_installed", list)
    fresh.setattr(fonts, "rank_zero_info", reported.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            render(titled(200, 60, HAN))
    assert len(reported) == 1 and HAN[0] in reported[0]
