"""`report`: run directories as single HTML files: what they show, that they need nothing else, and bad input."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.page import Code, Figure, Section, Table, html_page
from commands.report.command import report
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import assert_named, refuses

EVIL = '</pre><script>alert(1)</script>&"'
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text and images of a page; tags must be closed in their order, and nothing may be asked of a network."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.images, self.texts, self.tags = [], [], [], set()
        self.feed(html)
        assert not self.open
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("srcset", "action"), name
            assert name not in ("src", "href") or value.startswith(("data:image/", "#")), value
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))


@pytest.fixture
def page(capsys):
    def run(folder: Path) -> Page:
        report(["--run_dir", str(folder)])
        assert_named(capsys.readouterr().out, folder / "report.html")
        html = (folder / "report.html").read_text(encoding="utf-8")
        assert "url(" not in html and "@import" not in html
        found = Page(html)
        assert not {"script", "link", "iframe", "object"} & found.tags
        return found

    return run


def row(metric: str, value: float | None, ends=None, protocol="20 test images; top-1", weights="best, epoch 2") -> dict:
    reason = {} if ends else {"no interval": "only metrics of a test have one"}
    found = {"metric": metric, "value": value, "interval": ends, "items": 20 if ends else None, **reason}
    return found | {"weights": weights, "protocol": protocol}


def figure(path: Path, width: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def results(folder: Path, **changes) -> dict:
    rows = [
        row("test/accuracy", 0.75, [0.5, 0.9], f"20 test images; top-1; {EVIL}"),
        row("test/f1", None),
        row("val/accuracy", 0.5, protocol="10 val images; top-1"),
    ]
    content = {
        "command": ["python", "cli.py", "fit", "--data.root", EVIL],
        "seed": 3,
        "monitor": "val/accuracy",
        "mode": "max",
        "test weights": "best checkpoint, of epoch 2",
        "results": rows,
        "results of other weights": [row("val/accuracy", 0.4, weights="last, epoch 3")],
        "notes": [f"learning curves: {EVIL}"],
        "epochs": 3,
        "seconds": 1.0,
        "machine": "x86_64, cpu",
        "precision": "32-true",
        "versions": {"torch": "2.14.1"},
        "commit": "3ca711e",
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))
    return content


def test_a_run_is_one_page_with_all_that_it_left_and_nothing_of_it_becomes_markup(tmp_path, page):
    run = tmp_path / "runs" / "pets" / EVIL.replace("/", "_")
    results(run)
    (run / "config.yaml").write_text(f"# python cli.py fit\nmodel: '{EVIL}'\n")
    (run / "metrics.csv").write_text("step,epoch,train/loss_epoch,val/loss\n1,0,2.5,2.25\n2,1,1.5,1.75\n")
    (run / "predictions").mkdir()
    (run / "predictions" / "test_per_class.csv").write_text(f'class,count,recall\n"{EVIL[:-1]}",3,0.123456\n')
    (run / "skipped.txt").write_text("a\nb\n")
    figure(run / "figures" / "test_confusion.png")
    figure(run / "figures" / "wide.png", 3000)
    (run / "figures" / "broken.png").write_bytes(b"\x89PNG")
    found = page(run)
    shown = ["0.7500", "[.50, .90]", "n/a", "20 items", "20 test images", "10 val images", "last, epoch 3", "2.2500"]
    shown += ["0.1235", "2 lines in skipped.txt", "seed", "3ca711e", "2.14.1", "confusion matrix", "broken.png"]
    assert_named(found.text, *shown)
    assert found.text.count("alert(1)") >= 6  # title, protocol, note, class, configuration, command
    assert len(found.images) == 2 and all(image["alt"] for image in found.images)
    assert "--config" in found.text and "python cli.py fit" in found.text


def test_figures_are_made_no_wider_than_needed_and_films_stay_films(tmp_path):
    figure(tmp_path / "wide.png", 3000)
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 99, 255)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    drawn = [Figure(tmp_path / "wide.png", "wide"), Figure(tmp_path / "film.gif", "film")]
    kinds = [
        image["src"].partition(";")[0] for image in Page(html_page("t", "v", [Section("s", figures=drawn)])).images
    ]
    assert kinds == ["data:image/webp", "data:image/gif"]


def test_long_cells_become_blocks_on_a_phone_and_code_is_folded_under_its_title():
    short, long = Table(["a", "b", "c"], [["x", "1\n2", "3"]]), Table(["a", "b"], [["x", "word " * 20]])
    tables = [short, long, Table(["a", "b"], [["x", "y"]])]
    html = html_page(
        "t", "v", [Section("s", tables=tables, code=[Code("one\ntwo", "file"), Code("three")], folded=True)]
    )
    assert re.findall(r'<table class="(\w+)"', html) == ["short", "long", "pair"]
    assert "1<br>2" in html and html.count("<details>") == 2 and "one\ntwo" in html
    assert "width=device-width" in html and "prefers-color-scheme: dark" in html
    Page(html)


def comparison(folder: Path, **changes) -> None:
    names = ("variant metric runs mean standard_deviation low high reference difference difference_low "
             "difference_high standard_error items needed_seeds needed_items").split()  # fmt: skip
    rows = [
        ["none", "test/accuracy", 2, 0.5, 0.01, 0.4, 0.6, None, *[None] * 4, 20, None, None],
        [EVIL, "test/accuracy", 2, 0.7, 0.01, 0.6, 0.8, "none", 0.2, 0.1, 0.3, 0.05, 20, None, None],
        ["none", "test/loss", 2, 1.5, None, None, None, None, *[None] * 4, None, None, None],
        [EVIL, "test/loss", 2, 1.2, None, None, None, "none", -0.3, None, None, None, None, None, None],
    ]
    run = {"variant": "none", "seed": 0, "folds": 0, "fold": 0, "folder": "none/seed0", "epochs": 3, "seconds": None}
    content = {
        "command": f"python cli.py compare {EVIL}",
        "metric": "test/accuracy",
        "mode": "max",
        "protocol": "20 test images",
        "verdicts": [f"{EVIL} is better than none by 0.2000 [0.1000, 0.3000]"],
        "learning curves": {"none": "converged"},
        "variants": {name: {"settings": {"model.weights": name}, "reference": None} for name in ("none", EVIL)},
        "comparison": [dict(zip(names, values, strict=True)) for values in rows],
        "runs": [run | {"results": {"test/accuracy": 0.5}}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.json").write_text(json.dumps(content | changes))


def test_a_comparison_is_a_page(tmp_path, page):
    comparison(tmp_path)
    results(tmp_path / "none" / "seed0")
    figure(tmp_path / "figures" / "compare.png")
    found = page(tmp_path)
    assert_named(found.text, "0.7000", "[0.6000, 0.8000]", "+0.2000", "[+0.1000, +0.3000]", "2 runs", "20 test items")
    assert_named(found.text, "-0.3000", "converged", "none/seed0", "2.14.1", "python cli.py compare")
    assert len(found.images) == 1


def test_a_search_and_its_six_steps_are_pages(tmp_path, page):
    difference = {"mean": 0.1, "low": 0.05, "high": 0.15, "seeds": 3, "needed": 2}
    confirmation = {"trial": 1, "metric": "test/accuracy", "protocol": "20 test images", "difference": difference}
    report = {
        "command": "python cli.py tune",
        "metric": "val/accuracy",
        "mode": "max",
        "sampler": "tpe",
        "space": {"model.optim.lr": {"low": 0.001, "high": 0.1, "log": True}, "data.augment": ["none", EVIL]},
        "best trial": 1,
        "verdict": "trial 1 beats the default",
        "confirmation": confirmation | {"best": [0.8, 0.9], "default": [0.7, 0.8]},
        "seconds": 90.0,
        "trials": [{"state": "finished"}, {"state": "finished"}, {"state": "failed"}],
    }
    (tmp_path / "tune.json").write_text(json.dumps(report))
    (tmp_path / "trials.csv").write_text("trial,state,val/accuracy\n1,finished,0.912345\n0,finished,0.8\n")
    (tmp_path / "best.yaml").write_text("# Trial 1\nmodel: x\n")
    found = page(tmp_path)
    assert_named(found.text, "0.9123", "2 finished, 1 failed", "0.001 to 0.1 (log)", "+0.1000", "3 seeds", "best.yaml")

    steps = {"Initial loss": {"said": f"as it should be {EVIL}", "values": {}, "good": True}}
    folder = tmp_path / "steps"
    folder.mkdir()
    (folder / "steps.json").write_text(
        json.dumps({"command": "python cli.py tune --steps", "settings": {}, "steps": steps})
    )
    assert_named(page(folder).text, "1. Initial loss (as it should be)", "python cli.py tune --steps")


def test_the_latest_run_of_a_folder_of_runs_is_taken_and_the_page_may_go_elsewhere(tmp_path):
    results(tmp_path / "pets" / "now")
    (tmp_path / "pets" / "latest").symlink_to("now")
    report(["--run_dir", str(tmp_path / "pets"), "--out", str(tmp_path / "page.html")])
    assert "0.7500" in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "pets" / "now" / "report.html").exists()


def test_a_table_that_was_cut_short_is_shown_as_far_as_it_goes(tmp_path, page):
    results(tmp_path)
    (tmp_path / "predictions").mkdir(exist_ok=True)
    (tmp_path / "predictions" / "test_per_class.csv").write_text("class,f1\ncat,0.5\ndog\nowl,0.25,1,2\n")
    assert_named(page(tmp_path).text, "cat", "dog", "owl", "0.25")


def test_bad_input_is_a_sentence(tmp_path):
    with refuses(DataError, tmp_path / "none", "--run_dir"):
        report(["--run_dir", str(tmp_path / "none")])
    with refuses(DataError, tmp_path, "no run directory"):
        report(["--run_dir", str(tmp_path)])
    with refuses(ConfigError, "report", "--run_dir"):
        report([])
    with refuses(ConfigError, "--lr"):
        report(["--run_dir", str(tmp_path), "--lr", "1"])
    (tmp_path / "compare.json").write_text('{"variants": {}}')  # before its first results
    with refuses(DataError, tmp_path, "compare.json", "let it end"):
        report(["--run_dir", str(tmp_path)])
    for text, names in {"{": ["compare.json"], "[]": ["compare.json"], '{"runs": 3}': ["compare.json"]}.items():
        (tmp_path / "compare.json").write_text(text)
        with refuses(DataError, *names):
            report(["--run_dir", str(tmp_path)])
    results(tmp_path / "run")
    with refuses(ConfigError, "--out", "results.json", ".html"):  # or it were gone
        report(["--run_dir", str(tmp_path / "run"), "--out", str(tmp_path / "run" / "results.json")])
    for damaged in (b"\xff\xfe,\n1", b"epoch,val/x\nmany,1\n", b"epoch,val/x\n1," + b"9" * 200_000):
        (tmp_path / "run" / "metrics.csv").write_bytes(damaged)
        with refuses(DataError, tmp_path / "run" / "metrics.csv"):
            report(["--run_dir", str(tmp_path / "run")])
    (tmp_path / "run" / "metrics.csv").unlink()
    with refuses(DataError, tmp_path / "no" / "page.html"):
        report(["--run_dir", str(tmp_path / "run"), "--out", str(tmp_path / "no" / "page.html")])
