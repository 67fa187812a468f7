"""Limits of a server that no single request shows: turns of large images, and the names that it answers to."""

import asyncio
import threading

from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from commands.serve.batching import Batcher
from commands.serve.bodies import pixels_of
from commands.serve.command import listening, own_names
from commands.serve.metrics import Metrics
from commands.serve.server import OwnNames
from commands.serve.turns import Turns
from tests.helpers.bad_requests import PNG, bomb


def test_large_images_wait_for_their_turn_and_small_ones_do_not_overtake_them():
    seen, least = [], []

    async def one(turns: Turns, share: int) -> None:
        async with turns.take(share):
            seen.append(share)
            least.append(turns.free)
            await asyncio.sleep(0.001)

    async def several() -> int:
        turns = Turns(10)
        await asyncio.gather(*(one(turns, share) for share in (4, 4, 7, 1, 10, 0)))
        return turns.free

    assert asyncio.run(several()) == 10
    assert seen == [4, 4, 7, 1, 10, 0] and min(least) == 0


def test_threads_predict_at_once_with_a_share_of_the_cores_and_of_the_batch(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    shares = threading.local()
    monkeypatch.setattr("torch.set_num_threads", lambda count: setattr(shares, "mine", count))
    both, seen = threading.Barrier(2, timeout=10), []

    def predict(prepared):
        both.wait()  # passes only where both threads are at work
        seen.append((len(prepared), shares.mine))
        return [{"double": 2 * one} for one in prepared]

    async def several() -> list[dict[str, int]]:
        batcher = Batcher([predict, predict], 4, 1.0, Metrics())
        found = await asyncio.gather(*map(batcher, range(4)))
        batcher.close()
        return found

    assert asyncio.run(several()) == [{"double": 2 * one} for one in range(4)]
    assert [count for count, _ in seen] == [2, 2] and min(share for _, share in seen) == 2


def test_pixels_are_told_by_the_header_where_they_will_be_decoded():
    assert pixels_of(PNG, 1_000_000) == 40 * 30
    assert pixels_of(bomb(30_000, 30_000), 1_000_000) == pixels_of(b"a", 9) == 0


def test_a_server_of_this_machine_answers_to_its_own_names_only():
    with listening("127.0.0.1", 0) as sock:
        names = own_names("MyPC", sock)
    client = TestClient(OwnNames(_empty, names))
    for host, code in {"127.0.0.1:80": 200, "LOCALHOST": 200, "mypc:8000": 200, "evil.com": 403, "[": 403}.items():
        response = client.get("/", headers={"host": host})
        assert response.status_code == code and (code == 200 or host in response.json()["error"])


def test_a_server_that_others_reach_answers_to_any_name():
    with listening("0.0.0.0", 0) as sock:
        names = own_names("0.0.0.0", sock)
    assert TestClient(OwnNames(_empty, names)).get("/", headers={"host": "graft.example.org"}).status_code == 200


async def _empty(scope, receive, send):
    await JSONResponse({})(scope, receive, send)
