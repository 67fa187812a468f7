"""A stand-in for the Hugging Face hub on loopback: repositories in memory, made, filled and read by its own library."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKEN = "hf_standin"
COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """Attributes: `files`, contents by repository and name; `private`, the names of private ones; `asked`, requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        place, _, name = self.path.strip("/").partition("/resolve/main/")
        if name:
            files = self.server.files.get(place)
            if files is None:
                return self.answer(
                    404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
                )
            if name not in files:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return self.answer(200, files[name], {"ETag": f'"{hash(files[name])}"', "X-Repo-Commit": COMMIT})
        place = place.removeprefix("api/models/").partition("/revision/")[0]
        if place in self.server.files:
            return self.json({"id": place, "private": place in self.server.private, "sha": COMMIT, "siblings": []})
        return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.server.uploads[self.path.rpartition("/")[2]] = self.body()
        self.answer(200, b"")

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = self.body()
        if self.path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.files:
                return self.json({"error": "already there", "url": f"{self.server.address}/{name}"}, 409)
            self.server.files[name] = {}
            if asked.get("visibility") == "private":
                self.server.private.add(name)
            return self.json({"url": f"{self.server.address}/{name}", "name": name})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = {one["oid"]: {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}"}} for one in objects}
            return self.json(
                {"transfer": "basic", "objects": [one | {"actions": upload[one["oid"]]} for one in objects]}
            )
        place, _, kind = self.path.removeprefix("/api/models/").removesuffix("/main").rpartition("/")
        if kind == "preupload":
            return self.json(
                {
                    "files": [
                        {
                            "path": one["path"],
                            "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                            "shouldIgnore": False,
                        }
                        for one in json.loads(body)["files"]
                    ]
                }
            )
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.server.files[place][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[place][value["path"]] = self.server.uploads[value["oid"]]
        return self.json({"commitUrl": f"{self.server.address}/{place}/commit/{COMMIT}", "commitOid": COMMIT})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def json(self, content: object, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def hub() -> Iterator[Hub]:
    """A running stand-in."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(monkeypatch: pytest.MonkeyPatch, address: str, cache: object) -> None:
    """Let the hub's library in this process ask another address, with an empty cache and without a login."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{cache}/no_token")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
