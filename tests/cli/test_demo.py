"""The page on which a run is tried: its drawings, and the page itself through Gradio's client where it is installed."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

from commands.demo import answers
from commands.demo.examples import examples
from commands.predictor import Predictor
from commands.serve.answers import Meaning
from datamodules import LatentSamples
from tests.helpers.bad_requests import encoded
from tests.helpers.commands import ROOT, environment

IMAGE = np.zeros((40, 60, 3), np.uint8)


def test_only_sure_objects_are_drawn_and_listed_best_first():
    found = {"boxes": np.array([[1, 1, 9, 9], [20.4, 5, 50, 30], [0, 0, 2, 2]], np.float32)}
    found |= {"labels": np.array([0, 1, 0]), "scores": np.array([0.5, 0.875, 0.1], np.float32)}
    drawn, rows = answers.objects(IMAGE, found, ["cat", "dog"], 0.3)
    assert rows == [["dog", 87.5, "20, 5, 50, 30"], ["cat", 50.0, "1, 1, 9, 9"]]
    assert drawn.shape == (280, 420, 3) and drawn[30:215, 135:355].any() and not IMAGE.any()
    assert answers.objects(IMAGE, found, ["cat", "dog"], 0.9)[1] == []


def test_a_map_is_drawn_with_its_legend_and_shares():
    mask = np.zeros((40, 60), np.uint8)
    mask[:, :15] = 1
    drawn, shares = answers.semantic(IMAGE, {"mask": mask}, Meaning(["sky", "road"], [(0, 0, 255), (255, 0, 0)], None))
    assert shares == {"sky": 0.75, "road": 0.25}
    assert drawn.shape[0] > 280 and (drawn[..., 0] > 120).any()


def test_a_share_of_the_way_through_the_noise_keeps_its_length():
    seen = []

    def predict(prepared):
        seen.extend(noise for noise, _ in prepared)
        return [{"generated": np.zeros((4, 4, 1), np.uint8)}]

    predictor = Predictor(SimpleNamespace(classes=None, latent=64, condition=None), LatentSamples(), None, Path())
    predictor.predict = predict
    for share in (0.0, 0.5, 1.0):
        assert answers.generate(predictor, 3, 8, share, None).shape == (400, 400, 3)
    first, middle, last = seen
    assert np.allclose(first, predictor.prepare(3)[0]) and np.allclose(last, predictor.prepare(8)[0], atol=1e-6)
    assert 0.9 * min(map(np.linalg.norm, (first, last))) < np.linalg.norm(middle)
    assert first @ middle > first @ last


def test_examples_are_of_the_test_split_and_missing_data_is_said(trained, tmp_path, capsys):
    predictor = Predictor.load(trained, "--trainer.precision", "32")
    paths = examples(predictor, tmp_path)
    assert len(paths) == 6 and all(Image.open(path).size == (32, 32) for path in paths)
    assert len(predictor([Path(path).read_bytes() for path in paths])) == 6


def test_commands_that_cannot_show_a_page_are_refused(refused, trained, monkeypatch):
    refused(2, ["demo"], "--ckpt_path")
    refused(2, ["demo", "--ckpt_path", str(trained), "--port", "-1"], "--port")
    monkeypatch.setattr("commands.extras.find_spec", lambda name: None)
    refused(2, ["demo", "--ckpt_path", str(trained)], "gradio", "graft[demo]")


@pytest.mark.slow
def test_the_page_answers_an_upload_and_a_signal_ends_it(trained, tmp_path):
    client = pytest.importorskip("gradio_client")
    (tmp_path / "a.png").write_bytes(encoded())
    argv = [sys.executable, str(ROOT / "cli.py"), "demo", "--ckpt_path", str(trained), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*argv, "--trainer.precision", "32"], cwd=tmp_path, env=environment(), **pipes) as server:
        try:
            line = server.stdout.readline()
            url = line.partition(" at ")[2].partition(";")[0]
            page = client.Client(url, verbose=False)
            answer = page.predict(client.handle_file(tmp_path / "a.png"), api_name="/predict")
            (found,) = Predictor.load(trained, "--trainer.precision", "32")([encoded()])
            best = max(answer["confidences"], key=lambda row: row["confidence"])
            assert best["label"] == answer["label"]
            assert best["confidence"] == pytest.approx(float(found["scores"].max()), abs=1e-4)
            (tmp_path / "b.png").write_bytes(encoded()[:99])
            with pytest.raises(client.exceptions.AppError, match="image"):
                page.predict(client.handle_file(tmp_path / "b.png"), api_name="/predict")
            file = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}  # here, but not uploaded
            event = httpx.post(f"{url}/gradio_api/call/predict", json={"data": [file]}).json()["event_id"]
            assert "not uploaded" in httpx.get(f"{url}/gradio_api/call/predict/{event}").text
            assert httpx.get(url, headers={"host": "evil.com"}).status_code == 403
            address = url.removeprefix("http://").split(":")
            opened = socket.create_connection((address[0], int(address[1])), timeout=10)  # as a page keeps one
            opened.sendall(b"GET /gradio_api/heartbeat/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in opened.recv(999)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 128 + signal.SIGTERM
