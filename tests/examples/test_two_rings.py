"""The example of lifted features."""

from examples import two_rings


def test_rings_are_separable_once_lifted(tmp_path, capsys):
    line, *lifted = two_rings.main(tmp_path).values()
    assert line < 0.6 and min(lifted) > 0.98 and len(lifted) == 2
    assert (tmp_path / "two_rings.png").is_file() and capsys.readouterr().out.count("% right") == 3
