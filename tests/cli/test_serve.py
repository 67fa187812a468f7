"""Predictions over HTTP: answers as of `predict`, limits before decoding, bad requests by the hundred, and signals."""

import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from commands.predictor import Predictor
from commands.serve.answers import Form, Meaning, answer, image_of
from commands.serve.app import Limits, Service, build_app
from commands.serve.batching import side_by_side
from commands.serve.bodies import form_of
from datamodules import Videos
from modules.contracts import DataError
from tests.helpers.bad_requests import BAD, JPG, PNG, QUERIES, bomb, encoded
from tests.helpers.commands import ROOT, environment
from tests.helpers.errors import refuses
from tests.helpers.filmed import film
from tests.helpers.served import served


@pytest.fixture(scope="module")
def clients(trained, tmp_path_factory) -> Iterator[dict[str, TestClient]]:
    """Clients of four applications, by kind of sample; that of images is a trained network's."""
    folder, found = tmp_path_factory.mktemp("served"), {}
    with ExitStack() as stack:
        for kind in ("image", "video", "text", "noise"):
            own = Predictor.load(trained, "--trainer.precision", "32") if kind == "image" else served(kind, folder)
            own.limit_pixels(1_000_000)
            limits = Limits(max_bytes=300_000, timeout=5, batch_size=4, batch_timeout=0.001)
            app = build_app(Service(own, limits))
            found[kind] = stack.enter_context(TestClient(app, raise_server_exceptions=False))
        yield found


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, tuple[bytes, dict[str, str]]]:
    """A good request of each kind: body and headers."""
    clip = film(tmp_path_factory.mktemp("clips") / "a.mp4", 10, size=(32, 48))
    return {
        "image": (encoded(), {"content-type": "image/png"}),
        "video": (clip.read_bytes(), {"content-type": "video/mp4"}),
        "text": (b'{"text": "a red dog"}', {}),
        "noise": (b'{"noise": 3}', {}),
    }


def test_there_are_hundreds_of_bad_requests():
    assert len(BAD) + len(QUERIES.split()) >= 200


@pytest.mark.parametrize("kind", ["image", "video", "text", "noise"])
def test_every_bad_request_is_refused_with_a_sentence_and_the_next_good_one_is_answered(clients, good, kind):
    client, (body, headers) = clients[kind], good[kind]
    first = client.post("/predict", content=body, headers=headers)
    assert first.status_code == 200, first.text
    for _, name, wrong, more in (row for row in BAD if row[0] == kind):
        response = client.post("/predict", content=wrong, headers={"content-type": ""} | more)
        assert 400 <= response.status_code < 500, (name, response.text)
        said = response.json()["error"]
        assert 10 < len(said) < 400 and "\n" not in said and "Error" not in said, (name, said)
        again = client.post("/predict", content=body, headers=headers)
        assert (again.status_code, again.content) == (200, first.content), name


@pytest.mark.parametrize("query", QUERIES.split())
def test_options_that_mean_nothing_are_refused(clients, query):
    response = clients["image"].post(f"/predict?{query}", content=PNG)
    assert response.status_code == 400 and query.partition("=")[0] in response.json()["error"]


def test_an_answer_is_that_of_the_predictor(clients, trained):
    predictor, images = Predictor.load(trained, "--trainer.precision", "32"), [encoded(seed=seed) for seed in range(3)]
    for image, found in zip(images, predictor(images), strict=True):
        given = clients["image"].post("/predict", content=image).json()
        assert given["label"] == predictor.classes[found["label"]] == next(iter(given["scores"]))
        assert [given["scores"][name] for name in predictor.classes] == pytest.approx(
            found["scores"].tolist(), abs=1e-5
        )
    assert len(clients["image"].post("/predict?top=2", content=images[0]).json()["scores"]) == 2
    assert clients["image"].post("/predict", content=PNG, headers={"accept": "image/png"}).status_code == 406


def test_the_sentence_is_that_of_the_command_line(clients, refused, trained, tmp_path):
    (tmp_path / "photos").mkdir()
    for name, body in {"bomb.png": bomb(30_000, 30_000), "cut.jpg": JPG[:200]}.items():
        file = tmp_path / "photos" / name
        file.write_bytes(body)
        typed = ["--data", "UnlabeledImages", "--data.root", "photos", "--data.max_pixels", "1000000"]
        said = refused(1, ["predict", "--ckpt_path", str(trained), *typed], name)
        assert clients["image"].post("/predict", content=body).json()["error"].removeprefix("image ") in said
        file.unlink()


def test_health_metrics_and_pages(clients):
    client = clients["image"]
    assert client.get("/health").json() | {"checkpoint": ""} == {
        "status": "ok",
        "task": "Classification",
        "checkpoint": "",
        "input": "image",
        "classes": client.get("/health").json()["classes"],
        "threshold": None,
    }
    assert client.post("/predict", content=PNG).status_code == 200
    lines = client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(values['graft_requests_total{code="200"}']) == int(values["graft_request_seconds_count"]) > 0
    assert int(values["graft_requests_in_progress"]) == 0 < int(values["process_resident_memory_bytes"])
    assert "image/*" in client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    page = client.get("/").text
    assert "POST /predict" in page and "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    for method, path, code in (("GET", "/predict", 405), ("GET", "/nothing", 404), ("DELETE", "/", 405)):
        response = client.request(method, path)
        assert response.status_code == code and path in response.json()["error"]


def test_a_token_is_asked_for(tmp_path):
    with TestClient(build_app(Service(served("noise", tmp_path), Limits(1000), "secret"))) as client:
        for given in (
            {},
            {"authorization": "Bearer other"},
            {"authorization": "secret"},
            {"authorization": "Bearer é"},
        ):
            headers = {key: value.encode() for key, value in given.items()}
            assert client.post("/predict", content=b'{"noise": 3}', headers=headers).status_code == 401
            assert client.get("/metrics", headers=headers).status_code == 401
        bearer = {"authorization": "bearer secret"}  # the scheme is of any case
        assert client.post("/predict", content=b'{"noise": 3}', headers=bearer).status_code == 200
        assert client.get("/metrics", headers=bearer).status_code == client.get("/health").status_code == 200


def test_a_fault_of_the_network_fails_its_own_request_only(tmp_path, caplog):
    predictor = served("noise", tmp_path)

    def predict(prepared):
        if any(noise[0] == 7 for noise, _ in prepared):
            raise RuntimeError("out of memory")
        return [{"generated": np.zeros((4, 4, 3), np.uint8)} for _ in prepared]

    predictor.predict = predict
    rows = [json.dumps({"noise": [n, 0, 0, 0, 0, 0, 0, 0]}).encode() for n in (1, 7, 2)]
    with TestClient(build_app(Service(predictor, Limits(1000)))) as client:
        assert [client.post("/predict", content=row).status_code for row in 2 * rows] == 2 * [200, 500, 200]
    assert caplog.text.count("RuntimeError: out of memory") == 2  # each with its traceback


def test_copies_that_predict_side_by_side_share_weights_and_agree(trained, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    predictor = Predictor.load(trained, "--trainer.precision", "32")
    predicts = side_by_side(predictor)
    tasks = [predict.__self__.task for predict in predicts]
    assert len(tasks) == 3 and len({tuple(one.data_ptr() for one in task.parameters()) for task in tasks}) == 1
    modules = [id(module) for task in tasks for module in task.modules()]
    assert len(modules) == len(set(modules))
    prepared = [predictor.prepare(encoded(seed=seed)) for seed in range(3)]
    expected = predicts[0](prepared)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda predict: predict(prepared), 4 * predicts):
            np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("precision", ["bf16-true", "32"])
def test_one_thread_predicts_where_the_precision_is_set_for_all_threads(trained, monkeypatch, precision):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    predictor = Predictor.load(trained, "--trainer.precision", precision)
    assert len(side_by_side(predictor)) == (1 if precision == "bf16-true" else 2)


def test_masks_boxes_and_images_as_json():
    meaning = Meaning(["cat", "dog"], [(255, 0, 0), (0, 255, 0)], np.array([3, 9]))
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 1
    rle = coco.encode(np.asfortranarray(mask))
    found = {"boxes": np.array([[0, 0, 2, 2], [2, 1, 5, 3]], np.float32), "labels": np.array([0, 1])}
    found |= {"scores": np.array([0.25, 0.75], np.float32), "rle": [rle, rle]}
    best, other = answer(found, meaning, Form())["objects"]
    assert (best["label"], best["score"], best["box"], other["label"]) == ("dog", 0.75, [2, 1, 5, 3], "cat")
    assert np.array_equal(coco.decode(best["mask"]), mask)
    (only,) = answer(found, meaning, Form(threshold=0.5, masks="none"))["objects"]
    assert only == {"label": "dog", "score": 0.75, "box": [2, 1, 5, 3]}
    (first,) = answer(found, meaning, form_of({}, [0.2, 0.8]))["objects"]  # as `model.calibrate` chose them
    assert (
        first["label"] == "cat" and len(answer(found, meaning, form_of({"threshold": "0"}, [0.2, 0.8]))["objects"]) == 2
    )
    semantic = answer({"mask": mask}, meaning, Form())
    assert semantic["shares"] == {"cat": 0.75, "dog": 0.25}
    assert np.array_equal(coco.decode(semantic["masks"]["dog"]), mask)
    with Image.open(io.BytesIO(image_of({"mask": mask}, meaning))) as file:
        assert np.array_equal(np.asarray(file), np.where(mask, 9, 3))
        assert np.asarray(file.convert("RGB"))[1, 2].tolist() == [0, 255, 0]
    assert answer({"features": np.array([1, np.nan], np.float32)}, meaning, Form()) == {"features": [1.0, None]}


def test_videos_of_large_frames_are_not_decoded(tmp_path, good):
    with refuses(DataError, "48", "32"):
        Videos(root=str(tmp_path), frames=4, image_size=32).sample(good["video"][0], max_pixels=1000)


@pytest.fixture(scope="module")
def process(trained, tmp_path_factory) -> Iterator[Callable[..., tuple[subprocess.Popen, str]]]:
    """Starts `serve` in a process of its own on a free port; returns it and its address."""
    started = []

    def start(*typed: str) -> tuple[subprocess.Popen, str]:
        argv = [sys.executable, str(ROOT / "cli.py"), "serve", "--ckpt_path", str(trained), "--port", "0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        folder = tmp_path_factory.mktemp("server")
        one = subprocess.Popen([*argv, "--trainer.precision", "32", *typed], cwd=folder, env=environment(), **pipes)
        started.append(one)
        line = one.stdout.readline()
        assert "serving Classification" in line, line + one.stdout.read()
        return one, line.partition(" at ")[2].partition(";")[0]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def test_a_real_server_outlives_slow_and_broken_clients_and_finishes_what_is_under_way(process):
    server, url = process("--timeout", "1", "--max_bytes", "200000", "--batch_timeout", "1")
    address = (url.rpartition("/")[2].partition(":")[0], int(url.rpartition(":")[2]))
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
    slow = {"head": b"POST /predict HT", "headers": head, "body": head + b"\r\n" + PNG[:99], "nothing": b""}
    waiting = {name: socket.create_connection(address, timeout=10) for name in slow}
    for name, client in waiting.items():
        client.sendall(slow[name])
    gone = socket.create_connection(address)
    gone.sendall(head + b"\r\nabc")
    gone.close()  # in the middle of its request
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert client.recv(999).startswith(b"HTTP/1.1 400")
    for name, client in waiting.items():
        assert b" 408 " in client.recv(999), name
        client.close()
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(head.replace(b"5000", b"999999") + b"Expect: 100-continue\r\n\r\n")
        assert client.recv(999).startswith(b"HTTP/1.1 413")  # and no leave to send it
    large = httpx.post(f"{url}/predict", content=bytes(1_000_000))
    assert large.status_code == 413 and "200,000" in large.json()["error"]
    deaf = socket.create_connection(address)  # reads no answer, which must not keep the server from ending
    deaf.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            deaf.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
    client = socket.create_connection(address, timeout=20)
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(PNG), PNG))
    time.sleep(0.5)  # it waits for others for a second
    server.send_signal(signal.SIGTERM)
    assert b" 200 " in client.recv(9999)
    assert server.wait(20) == 128 + signal.SIGTERM
    assert server.stdout.read() == "stopped\n"


def test_commands_that_cannot_serve_are_refused(refused, trained):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(2, ["serve", "--ckpt_path", str(trained), "--port", port], "--port", port)
    refused(2, ["serve"], "--ckpt_path", "--onnx")
    refused(2, ["serve", "--onnx", "a.onnx", "--data.image_size", "9"], "--data.image_size", "--onnx")
    refused(1, ["serve", "--onnx", "a.onnx", "--port", "0"], "a.onnx")
    refused(1, ["serve", "--ckpt_path", "nowhere", "--port", "0"], "nowhere")
    for host in ("256.0.0.1", ".."):
        refused(2, ["serve", "--ckpt_path", str(trained), "--host", host], "--host", host)
    numbers = {"--port": "70000", "--workers": "0", "--max_bytes": "0", "--timeout": "0", "--token": "a b"}
    numbers["--batch_timeout"] = "1e12"
    for name, value in numbers.items():
        refused(2, ["serve", "--ckpt_path", str(trained), name, value], name)
    refused(2, ["serve", "--ckpt_path", str(trained), "--port", "0", "--model.tta.flop", "true"], "model.tta.flop")
