"""Dynamic batching: samples of simultaneous requests go through the network together."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch.plugins import MixedPrecision, Precision

from commands.predictor import Predictor
from commands.serve.metrics import Metrics

THREADS = 4  # that predict at once on the CPU
Predict = Callable[[Sequence[Any]], list[dict[str, Any]]]


class Batcher:
    """Threads that predict; what waits for them when one is free is its next batch.

    On the CPU threads side by side answer more than one does with all cores, which has to wait for its slowest core
    in every layer; alone at work, a thread has all of them.

    Args:
        predicts: prepared samples to an answer each, a function for each thread.
        size: samples that are predicted at once at most, by all threads together.
        timeout: seconds that the first sample of a batch waits for others.
        metrics: counts the batches.
    """

    def __init__(self, predicts: Sequence[Predict], size: int, timeout: float, metrics: Metrics):
        self.size, self.timeout, self.metrics = max(1, size // len(predicts)), timeout, metrics
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._taking, self._counting = threading.Lock(), threading.Lock()
        self._at_work, self._cores = 0, torch.get_num_threads()
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in predicts]
        for thread in self._threads:
            thread.start()

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
        """End the threads, after all that waits."""
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, predict: Predict) -> None:
        while batch := self._next():
            for one in _alike(batch):
                with self._cores_shared():
                    self._answer(predict, one)
            if batch[-1] is None:
                self._waiting.put(None)  # for the other threads
                return

    @contextmanager
    def _cores_shared(self) -> Iterator[None]:
        """This thread at work with its share of the cores."""
        with self._counting:
            self._at_work += 1
            torch.set_num_threads(max(1, self._cores // self._at_work))  # of this thread, and of later ones
        try:
            yield
        finally:
            with self._counting:
                self._at_work -= 1
                torch.set_num_threads(self._cores)

    def _next(self) -> list[Any]:
        """The next batch; null in the end of one is the last."""
        with self._taking:
            batch = [self._waiting.get()]
            until = time.monotonic() + self.timeout
            while len(batch) < self.size and batch[-1] is not None:
                try:
                    batch.append(self._waiting.get(timeout=max(0.0, until - time.monotonic())))
                except queue.Empty:
                    break
        return batch

    def _answer(self, predict: Predict, batch: list[Any]) -> None:
        """Predict a batch; where that fails, its samples one by one, so that one cannot spoil the others'."""
        try:
            found: list[Any] = predict([prepared for prepared, _, _ in batch])
            answered = list(zip(batch, found, strict=True))
        except Exception as error:  # of any kind: the thread must live on
            if len(batch) > 1:
                for one in batch:
                    self._answer(predict, [one])
                return
            answered = [(batch[0], error)]
        else:
            self.metrics.count_batch(len(batch))
        for (_, loop, future), answer in answered:
            with suppress(RuntimeError):  # a second Ctrl-C has ended the loop
                loop.call_soon_threadsafe(_set, future, answer)


def side_by_side(predictor: Any) -> list[Predict]:
    """Functions that may predict at once, each in a thread: of a `Predictor` on the CPU one per core, 4 at most.

    They share weights and data; modules are copies, as some keep what one part of a forward pass hands to another.
    """
    task: Any = getattr(predictor, "task", None)  # an exported file has none
    trainer: Any = getattr(predictor, "trainer", None)
    plain = type(getattr(trainer, "precision_plugin", None)) in (Precision, MixedPrecision)  # no other goes by thread
    count = min(torch.get_num_threads(), THREADS) if task and plain and task.device.type == "cpu" else 1
    found = [predictor.predict]
    for _ in range(count - 1):
        shared = [predictor.data, trainer, *task.parameters(), *task.buffers()]
        copied = deepcopy(task, {id(one): one for one in shared})
        found.append(Predictor(copied, predictor.data, trainer, predictor.checkpoint).predict)
    return found


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
