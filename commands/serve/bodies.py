"""Content of a request: a body within its limits, the sample in it, and the form of the answer that it asks for."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, get_args

from starlette.requests import ClientDisconnect

from commands.serve.answers import Form, Masks
from datamodules.decoding import image_header
from datamodules.orientation import UNREADABLE
from modules.metrics.threshold import Threshold

JSON, TEXT = "application/json", "text/plain"
FORMS = ("multipart/form-data",)
QUERY = ("threshold", "top", "masks")


class Refused(Exception):
    """A request that is refused.

    Args:
        code: HTTP status, 4xx or 503.
        sentence: the reason.
    """

    def __init__(self, code: int, sentence: str):
        super().__init__(sentence)
        self.code = code


async def read_body(chunks: AsyncIterator[bytes], length: str | None, max_bytes: int, timeout: float) -> bytes:
    """The body of a request.

    Args:
        chunks: of the body, as they come.
        length: the header Content-Length; null without.
        max_bytes: of the body; a larger one is refused before it is read, or as soon as it is seen to be.
        timeout: seconds in which it must be here.

    Raises:
        Refused: it is too large or too slow.
    """
    large = Refused(413, f"the request has more than --max_bytes {max_bytes:,} bytes")
    if length and length.isdecimal() and int(length) > max_bytes:
        raise large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    raise large
    except TimeoutError as error:
        raise Refused(408, f"the request was not complete within {timeout:g} seconds") from error
    return bytes(body)


async def drain(chunks: AsyncIterator[bytes], most: int, seconds: float) -> None:
    """Read what is left of a refused request, within limits: a client that is still sending would miss the answer."""
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                most -= len(chunk)
                if most < 0:
                    return


def sample_of(kind: str, content_type: str, body: bytes) -> Any:
    """The sample of a request, yet to be decoded.

    Args:
        kind: image, video, text or noise.
        content_type: the header, "" without.
        body: an image or video file as it is; a sentence as text or as JSON `{"text": "..."}`; JSON `{"noise": 3}` or
            `{"noise": [0.1, ...]}`, perhaps with `label`, a class.

    Raises:
        Refused: it holds no such thing.
    """
    media = content_type.partition(";")[0].strip().lower()
    if not body:
        raise Refused(400, f"the request is empty: {_wanted(kind)}")
    if kind in ("image", "video"):
        other = "image" if kind == "video" else "video"
        gif = media == "image/gif"
        if media in (JSON, TEXT, *FORMS) or (media.startswith(("text/", "audio/", f"{other}/")) and not gif):
            raise Refused(415, f"the request is {media}: {_wanted(kind)}")
        return body
    if kind == "text" and media == TEXT:
        return _decoded(body)
    if media.startswith(("image/", "video/", "audio/", *FORMS)):
        raise Refused(415, f"the request is {media}: {_wanted(kind)}")
    return _member(kind, body)


def pixels_of(content: bytes, most: int) -> int:
    """Pixels of an image, as the header of its file says; 0 of what is none or has more than the most: not decoded."""
    try:
        pixels = math.prod(image_header(BytesIO(content)).shape)
    except UNREADABLE:
        return 0
    return pixels if pixels <= most else 0


def form_of(query: Mapping[str, str], usual: Threshold = 0.0) -> Form:
    """The form of the answer.

    Args:
        query: of the request.
        usual: lowest score of detections where it names none.

    Raises:
        Refused: an option that there is not, or a value that it does not take.
    """
    if strange := query.keys() - set(QUERY):
        raise Refused(400, f"there is no option {min(strange)!r}: there are {', '.join(QUERY)}")
    threshold, top = _number(query["threshold"]) if "threshold" in query else usual, query.get("top")
    masks: Any = query.get("masks", "rle")
    if threshold is None or (isinstance(threshold, float) and not 0 <= threshold <= 1):
        raise Refused(400, f"threshold is {query['threshold'][:40]!r}, but it is a score, 0 to 1")
    if top is not None and not (top.isascii() and top.isdigit() and int(top[:9]) > 0):
        raise Refused(400, f"top is {top[:40]!r}, but it is a number of classes, 1 or more")
    if masks not in get_args(Masks):
        raise Refused(400, f"masks is {masks[:40]!r}, but must be one of {', '.join(get_args(Masks))}")
    return Form(threshold, None if top is None else int(top[:9]), masks)


def _member(kind: str, body: bytes) -> Any:
    """The member of a JSON object that is the sample; of noise the whole object, which may have a label."""
    text = _decoded(body)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the request is no JSON ({str(error)[:80]}): {_wanted(kind)}") from error
    allowed = {kind, "label"} if kind == "noise" else {kind}
    if not isinstance(content, dict) or kind not in content or content.keys() - allowed:
        raise Refused(400, f"the request has another form: {_wanted(kind)}")
    return content if kind == "noise" else content[kind]


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        byte, place = body[error.start], error.start
        raise Refused(400, f"byte 0x{byte:02x} at offset {place:,} of the request is not UTF-8") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _wanted(kind: str) -> str:
    """The way to send a sample."""
    return {
        "image": "send the content of an image file as the body, such as curl --data-binary @IMAGE",
        "video": "send the content of a video file as the body, such as curl --data-binary @VIDEO",
        "text": 'send JSON such as {"text": "a sentence"}, or the sentence as text/plain',
        "noise": 'send JSON such as {"noise": 3}, the number of an image',
    }[kind]
