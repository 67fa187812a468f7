"""Examples run as they stand, and the lines of Python in README and guides too."""

import re

from examples import python_api
from tests.helpers.commands import ROOT

LESS = {  # longer runs in README, cut
    "Shapes(": "Shapes(train=32, val=8, test=8, ",
    "batch_size=256": "batch_size=16, workers=0",
    "max_epochs=14": "max_epochs=1, limit_train_batches=1, logger=False, enable_checkpointing=False",
}


def test_the_python_api_trains_loads_and_predicts(tmp_path, capsys):
    assert 0 <= python_api.main(tmp_path) <= 1
    said = capsys.readouterr().out
    assert "features: (8, 96)" in said


def test_the_lines_in_the_readme(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## In Python\n")[2].partition("\n[")[0]
    code = "\n".join(line.removeprefix("    ") for line in text.splitlines())
    for long, short in LESS.items():
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(code, made)
    assert made["task"].classes == ["cat", "dog"]


def test_the_lines_of_a_plain_dataset(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    made = {}
    exec(code, made)
    made["data"].setup()
    assert made["data"].classes == ["upright", "level"]
