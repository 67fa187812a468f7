"""Turns: what large images take of the memory at once is bounded, and the rest of them wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Shares of a sum, taken in the order in which they are asked for.

    Args:
        most: the sum.
    """

    def __init__(self, most: int):
        self.free = most
        self._first, self._given = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def take(self, share: int) -> AsyncIterator[None]:
        """A share, the sum at most, held in this context."""
        async with self._first:  # behind those that came before
            while self.free < share:
                self._given.clear()
                await self._given.wait()
            self.free -= share
        try:
            yield
        finally:
            self.free += share
            self._given.set()
