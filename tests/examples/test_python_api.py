"""Examples run as they stand."""

from examples import python_api


def test_the_python_api_trains_loads_and_predicts(tmp_path, capsys):
    assert 0 <= python_api.main(tmp_path) <= 1
    said = capsys.readouterr().out
    assert "features: (8, 96)" in said
