"""A bounded load on a server: connections that send a request as soon as the last is answered; prints JSON."""

import asyncio
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.report import parser
from datamodules.finding import find_images


async def connection(
    url: str, bodies: list[bytes], first: int, until: float, codes: Counter, took: list[float]
) -> None:
    """Send requests over one connection, opened again where the server closes it, until the time is over."""
    place = urlsplit(url)
    writer = None
    for number in itertools.count(first):
        if time.monotonic() >= until:
            break
        body, began = bodies[number % len(bodies)], time.monotonic()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
            head = f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            codes[lines[0].split()[1].decode()] += 1
        except (OSError, EOFError) as error:
            codes[type(error).__name__], writer = codes[type(error).__name__] + 1, None
        took.append(time.monotonic() - began)
    if writer:
        writer.close()


async def load(url: str, bodies: list[bytes], connections: int, seconds: float) -> dict[str, object]:
    """Answers by status, answers per second, the seconds that each took, and those of the processor for all."""
    codes, took, began, before = Counter(), [], time.monotonic(), time.process_time()
    until = began + seconds
    await asyncio.gather(*(connection(url, bodies, i, until, codes, took) for i in range(connections)))
    rate, used = codes["200"] / (time.monotonic() - began), time.process_time() - before
    return {"codes": codes, "rate": rate, "seconds": took, "cpu": used}


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--url", required=True, help="that requests are sent to")
    options.add_argument("--root", type=Path, required=True, help="folder of the images that are sent")
    options.add_argument("--connections", type=int, default=32, help="at the same time")
    options.add_argument("--seconds", type=float, default=60, help="of the load")
    args = options.parse_args()
    files = [path.read_bytes() for path in find_images(args.root)]
    print(json.dumps(asyncio.run(load(args.url, files, args.connections, args.seconds))))
