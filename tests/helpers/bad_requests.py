"""Requests for predictions that must be refused, by kind of sample."""

import io
import json
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}


def encoded(form: str = "PNG", size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
    """An image file of noise."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)).save(file, form)
    return file.getvalue()


def bomb(width: int, height: int, channels: int = 3) -> bytes:
    """A PNG of that many pixels, all zero, in a few kilobytes: its header is true."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    content = zlib.compress(bytes(min(width * height * channels + height, 5_000_000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


PNG, JPG, GIF, WEBP, TIF, BMP = (encoded(form) for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"))
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n"
ZIP = b"PK\x03\x04" + bytes(200)
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def bad_images() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no images which are taken, by name."""
    for name, whole in {"png": PNG, "jpg": JPG, "gif": GIF, "webp": WEBP, "tif": TIF, "bmp": BMP}.items():
        for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
            yield f"{name} cut at {share}", whole[: int(share * len(whole))]
    for size in (1, 2, 3, 4, 7, 8, 12, 16, 24, 32):
        yield f"{size} bytes of a png", PNG[:size]
        yield f"{size} bytes of a jpg", JPG[:size]
        yield f"{size} zeros", bytes(size)
    for width, height in ((1001, 1000), (30_000, 30_000), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (1_000_001, 1)):
        for channels in (1, 3, 4):
            yield f"bomb of {width} x {height} x {channels}", bomb(width, height, channels)
    for width, height in ((0, 0), (0, 9), (9, 0)):
        yield f"png of {width} x {height}", bomb(width, height)
    yield "bomb in a gif", GIF[:6] + struct.pack("<HH", 65535, 65535) + GIF[10:]
    yield "bomb in a bmp", BMP[:18] + struct.pack("<ii", 60_000, 60_000) + BMP[26:]
    yield "bmp of negative width", BMP[:18] + struct.pack("<ii", -5, 5) + BMP[26:]
    for seed in range(40):
        yield f"noise {seed}", np.random.default_rng(seed).bytes(10 + 50 * seed)
        damaged = bytearray(PNG)
        damaged[41 + 7 * seed :] = bytes(len(PNG) - 41 - 7 * seed)
        yield f"png of zeros from {41 + 7 * seed} on", bytes(damaged)
    others = {"svg": SVG, "eps": EPS, "zip": ZIP, "html": b"<html></html>", "json": b"{}", "pdf": b"%PDF-1.7\n"}
    others |= {
        "empty": b"",
        "text": b"cat.jpg",
        "path": b"/etc/passwd",
        "url": b"http://localhost/",
        "gz": b"\x1f\x8b\x08",
    }
    others |= {
        "heic": bytes(4) + b"ftypheic" + bytes(99),
        "playlist": PLAYLIST,
        "mp4": bytes(4) + b"ftypisom" + bytes(99),
    }
    others |= {
        "too large": bytes(300_001),
        "large png": PNG + bytes(300_000),
        "pnm": b"P6 99999 99999 255\n",
        "xcf": b"gimp xcf ",
        "chunk of 4 GB in a png": PNG[:33] + b"\xff\xff\0\0" + PNG[37:],
        "png of two headers": bomb(65_000, 65_000)[:33] + PNG[8:],
        "blp of no encoding": b"BLP2" + struct.pack("<i4b2i", 1, 9, 0, 0, 0, 8, 8) + bytes(1200),
        "texture without a format": b"FTEX" + struct.pack("<5i", 1, 8, 8, 1, 2) + bytes(99),
        "big tiff that begins behind its end": b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63) + bytes(50),
    }
    yield from others.items()


OTHERS = {
    "video": {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(5000),
        "playlist": PLAYLIST,
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "head of an mp4": bytes(3) + b"\x20ftypisom" + bytes(5000),
        "head of a mkv": b"\x1a\x45\xdf\xa3" + bytes(5000),
        "image": PNG,
        "too large": bytes(300_001),
    },
    "text": {
        "empty": b"",
        "list": b"[]",
        "number": b'{"text": 3}',
        "null": b'{"text": null}',
        "several": b'{"text": ["a", "b"]}',
        "misspelled": b'{"txt": "a"}',
        "more": b'{"text": "a", "b": 1}',
        "cut": b'{"text": "a',
        "latin": b'{"text": "\xe9"}',
        "nul": b'{"text": "a\\u0000b"}',
        "surrogate": b'{"text": "\\ud800"}',
        "nan": b'{"text": NaN}',
        "deep": b"[" * 100_000,
        "another script": json.dumps({"text": "你好世界" * 9}).encode(),
        "too large": b'{"text": "' + b"a" * 300_000 + b'"}',
    },
    "noise": {
        "empty": b"",
        "negative": b'{"noise": -1}',
        "huge": b'{"noise": 1' + b"0" * 30 + b"}",
        "endless": b'{"noise": 1' + b"0" * 6000 + b"}",
        "fraction": b'{"noise": 1.5}',
        "true": b'{"noise": true}',
        "word": b'{"noise": "abc"}',
        "short": b'{"noise": [1, 2]}',
        "nan": b'{"noise": [NaN, 0, 0, 0, 0, 0, 0, 0]}',
        "beyond": b'{"noise": [1e39, 0, 0, 0, 0, 0, 0, 0]}',
        "nested": b'{"noise": [[1], [2]]}',
        "ragged": b'{"noise": [[1], [2, 3]]}',
        "digits": b'{"noise": ["1", "2", "3", "4", "5", "6", "7", "8"]}',
        "twice": b'{"noise": {"noise": 3}}',
        "label": b'{"noise": 1, "label": "cat"}',
        "list as label": b'{"noise": 1, "label": [1]}',
    },
}
BAD = [("image", name, body, {}) for name, body in bad_images()]
BAD += [(kind, name, body, {}) for kind, rows in OTHERS.items() for name, body in rows.items()]
BAD += [
    ("image", f"as {media}", PNG, {"content-type": media}) for media in ("multipart/form-data; boundary=a", "video/mp4")
]
BAD += [
    ("image", f"as {media}", PNG, {"content-type": media}) for media in ("application/json", "text/plain", "audio/wav")
]
BAD += [("text", "as an image", PNG, {"content-type": "image/png"}), ("text", "latin text", b"\xe9", TEXT)]
QUERIES = "threshold=2 threshold=-1 threshold=nan threshold=a threshold= top=0 top=-1 top=a top=1.5 top=%C2%B2 masks=x "
QUERIES += "masks= size=3 model=a"
