"""Which callback of the event loop uses the most processor time: for tests and benchmarks, not in production.

Raft lives on the same loop as everything else, so whatever holds the loop up holds up heartbeats and votes.
It measures processor time of this thread, not wall time: a machine that is busy with something else says
nothing about a callback. Only asyncio's own loop can be measured; uvloop's callbacks cannot be seen from
Python.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import structlog

_REPORT_EVERY_S: Final = 0.5
_LIBRARIES: Final = ("/site-packages/", "/asyncio/")

_log = structlog.get_logger(__name__)


class Slow(NamedTuple):
    """One run of a callback. ``wall_s`` is above ``cpu_s`` where it waited, if only for the interpreter."""

    callback: str
    cpu_s: float
    wall_s: float


class CallbackMeter:
    """Keeps the slowest callback since ``take``."""

    def __init__(self) -> None:
        self._slowest: Slow | None = None

    def take(self) -> Slow | None:
        """The slowest since the last call, if any ran."""
        found, self._slowest = self._slowest, None
        return found

    def run(self, handle: asyncio.Handle, run: Callable[[asyncio.Handle], None]) -> None:
        """Run a handle and remember it if it was the slowest."""
        callback: Any = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no door
        owner = getattr(callback, "__self__", None)
        begun_at = _position(owner)
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        run(handle)
        cpu_s, wall_s = time.thread_time() - cpu_s, time.perf_counter() - wall_s
        if self._slowest is None or cpu_s > self._slowest.cpu_s:
            self._slowest = Slow(_name(callback, owner, begun_at), cpu_s, wall_s)


@contextmanager
def measured(meter: CallbackMeter, *, after_each: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within it every callback of every asyncio loop of this process goes through ``meter``."""
    plain = asyncio.Handle._run  # noqa: SLF001 - see above

    def run(handle: asyncio.Handle) -> None:
        meter.run(handle, plain)
        after_each()

    # There is no other place that all kinds of handles pass through.
    asyncio.Handle._run = run  # type: ignore[assignment,method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        asyncio.Handle._run = plain  # type: ignore[method-assign]  # noqa: SLF001


@contextmanager
def logged(threshold_ms: float) -> Iterator[None]:
    """Measure, and log each half second's slowest callback that used at least that much processor time."""
    meter = CallbackMeter()
    due = time.monotonic() + _REPORT_EVERY_S

    def report_if_due() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _REPORT_EVERY_S
            report()

    def report() -> None:
        slow = meter.take()
        if slow is not None and slow.cpu_s * 1000 >= threshold_ms:
            _log.warning(
                "slow_callback",
                callback=slow.callback,
                cpu_ms=round(slow.cpu_s * 1000, 1),
                wall_ms=round(slow.wall_s * 1000, 1),
            )

    with measured(meter, after_each=report_if_due):
        yield
    report()


def _position(owner: object) -> list[str]:
    """Where a task's coroutines are suspended, outermost first; empty for anything but a task."""
    found: list[str] = []
    inner: Any = owner.get_coro() if isinstance(owner, asyncio.Task) else None
    while inspect.iscoroutine(inner):
        frame = inner.cr_frame
        code = inner.cr_code
        if frame is not None and (not found or not any(part in code.co_filename for part in _LIBRARIES)):
            found.append(f"{code.co_qualname}:{frame.f_lineno}")
        inner = inner.cr_await
    return found


def _name(callback: Any, owner: object, begun_at: list[str]) -> str:
    """A plain callback by its name, a task by where it went on and where it came to."""
    if isinstance(owner, asyncio.Task):
        ended_at = _position(owner)
        return f"{' > '.join(begun_at)} ... {' > '.join(ended_at) or 'end'}"
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    get_protocol = getattr(owner, "get_protocol", None)
    return name if get_protocol is None else f"{name} of {type(get_protocol()).__qualname__}"
