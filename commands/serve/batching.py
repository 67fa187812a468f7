"""Dynamic batching: samples of simultaneous requests go through the network together."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from commands.serve.metrics import Metrics

Predict = Callable[[Sequence[Any]], list[dict[str, Any]]]


class Batcher:
    """One thread that predicts; what waits for it when it is free is its next batch.

    Args:
        predict: prepared samples to an answer each.
        size: samples of a batch at most.
        timeout: seconds that the first sample of a batch waits for others.
        metrics: counts the batches.
    """

    def __init__(self, predict: Predict, size: int, timeout: float, metrics: Metrics):
        self.predict, self.size, self.timeout, self.metrics = predict, size, timeout, metrics
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
        self._thread.start()

    async def __call__(self, prepared: Any) -> dict[str, Any]:
        """The answer for a prepared sample.

        Raises:
            Exception: that of the prediction of this sample alone.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.put((prepared, loop, future))
        return await future

    def close(self) -> None:
        """End the thread, after all that waits."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            for one in _alike(batch):
                self._answer(one)
            if batch[-1] is None:
                return

    def _next(self) -> list[Any]:
        """The next batch; null in the end of one is the last."""
        batch = [self._waiting.get()]
        until = time.monotonic() + self.timeout
        while len(batch) < self.size and batch[-1] is not None:
            try:
                batch.append(self._waiting.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _answer(self, batch: list[Any]) -> None:
        """Predict a batch; where that fails, its samples one by one, so that one cannot spoil the others'."""
        try:
            found: list[Any] = self.predict([prepared for prepared, _, _ in batch])
            answered = list(zip(batch, found, strict=True))
        except Exception as error:  # of any kind: the thread must live on
            if len(batch) > 1:
                for one in batch:
                    self._answer([one])
                return
            answered = [(batch[0], error)]
        else:
            self.metrics.count_batch(len(batch))
        for (_, loop, future), answer in answered:
            with suppress(RuntimeError):  # a second Ctrl-C has ended the loop
                loop.call_soon_threadsafe(_set, future, answer)


def _alike(batch: list[Any]) -> list[list[Any]]:
    """Entries of one shape each: a batch is padded to its largest image, which must not multiply its memory."""
    groups: dict[Any, list[Any]] = {}
    for one in batch:
        if one is not None:
            image = one[0].get("image") if isinstance(one[0], dict) else None
            groups.setdefault(getattr(image, "shape", None), []).append(one)
    return list(groups.values())


def _set(future: asyncio.Future, answer: Any) -> None:
    if future.done():  # the client has gone
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
