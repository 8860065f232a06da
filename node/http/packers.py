"""A few processes that decode bodies too heavy for the event loop; started with the first such body.

A process that dies in the middle of a body is replaced, and the body is given to the next one, once. An idle
process is ended after a while, which returns its memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from floodmark.errors import TooManyRequests, Unavailable

from node.http.packer import Gone, Packer, result
from node.http.packing import Order
from node.service.division import Packed

PROCESSES_MAX: Final = 2
WAITING_MAX: Final = 64
"""At most this many large bodies wait; further ones are refused."""
IDLE_S: Final = 30.0
_ATTEMPTS: Final = 2
_RETRY_AFTER_S: Final = 1.0

T = TypeVar("T")


class Packers:
    """One pool per application. ``started`` and ``lost`` count processes, ``packed`` bodies."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self.started = self.lost = self.packed = 0
        self.idle_s = idle_s
        self._waiting = 0
        self._places = asyncio.Semaphore(PROCESSES_MAX)
        self._idle: list[Packer] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        """Tasks that end idle processes. Never cancelled, or a process might be left over."""

    @property
    def idle(self) -> list[int]:
        """Process ids of the idle ones."""
        return [packer.pid for packer in self._idle]

    async def pack(self, order: Order, body: bytes, *, timeout_s: float) -> Packed:
        """The result of ``packing.pack`` for the body.

        Raises what that raises, and TooManyRequests or Unavailable (not stored) where there is no capacity.
        """
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests(
                f"{self._waiting} large bodies wait here to be decoded: send smaller ones, or later",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
                # When the client leaves, or the time is up, the process still finishes what it has begun.
                return await asyncio.shield(self._spawn(self._work(order, body)))
        except TimeoutError as error:
            raise _not_stored(f"the body could not be decoded within {timeout_s:g} s") from error
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End all processes; their present work is lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(packer.end() for packer in idle), *self._ending)

    async def _work(self, order: Order, body: bytes) -> Packed:
        try:
            for _ in range(_ATTEMPTS):
                packer = await self._packer()
                try:
                    answer, batches = await packer.pack(order, body)
                except Gone:
                    self.lost += 1
                    await packer.end()
                except BaseException:
                    await packer.end()
                    raise
                else:
                    self._rest(packer)
                    return result(answer, batches)
        finally:
            self._places.release()
        raise _not_stored("the process that decodes large bodies ended, and so did the next one")

    async def _packer(self) -> Packer:
        if self._idle:
            packer = self._idle.pop()
            if packer.rest is not None:
                packer.rest.cancel()
            return packer
        self.started += 1
        try:
            return await Packer.start()
        except OSError as error:
            raise _not_stored(f"no process can be started to decode large bodies: {error}") from error

    def _rest(self, packer: Packer) -> None:
        self.packed += 1
        packer.rest = asyncio.get_running_loop().call_later(self.idle_s, self._retire, packer)
        self._idle.append(packer)

    def _retire(self, packer: Packer) -> None:
        self._idle.remove(packer)
        task = asyncio.create_task(packer.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _not_stored(why: str) -> Unavailable:
    return Unavailable(f"not stored: {why}; send smaller bodies, or later", retry_after_s=_RETRY_AFTER_S)
