"""Chunks of PNG files, checked before OpenCV reads them."""

from datamodules.orientation import PNG

HEAD = len(PNG) + 25  # the signature and the first chunk, IHDR


def check_chunks(data: bytes) -> None:
    """Check that a PNG file holds the chunks that it announces, and one header.

    OpenCV takes the memory of a chunk before it reads it: 4 GB for a file of a kilobyte.

    Raises:
        ValueError: it does not; other files pass.
    """
    at = len(PNG) if data.startswith(PNG) else len(data)
    while at < len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if at > len(data) or (kind == b"IHDR" and at != HEAD):
            raise ValueError(f"a PNG file without all of its chunk {kind!r}, or with two headers")
        if kind == b"IEND":
            return
