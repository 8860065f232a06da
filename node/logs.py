"""Structured logs on standard error: console lines for people, JSON lines for machines, rate-limited."""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

EVENTS_MAX: Final = 512
BURST: Final = 50
REFILL_PER_S: Final = 1.0

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class FloodGuard:
    """A structlog processor: each kind of event may come in a burst, then once a second.

    The next line that gets through says how many were dropped. A kind is a logger and an event, never values,
    so clients cannot make new kinds.
    """

    def __init__(
        self,
        *,
        burst: int = BURST,
        refill_per_s: float = REFILL_PER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._refill_per_s = refill_per_s
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[float, float, int]] = OrderedDict()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Let the event pass, or raise ``DropEvent``."""
        kind = (str(event.get("logger", "")), str(event.get("event", "")))
        now = self._clock()
        tokens, then, suppressed = self._seen.pop(kind, (float(self._burst), now, 0))
        tokens = min(float(self._burst), tokens + (now - then) * self._refill_per_s)
        if len(self._seen) >= EVENTS_MAX:
            self._seen.popitem(last=False)
        if tokens < 1:
            self._seen[kind] = (tokens, now, suppressed + 1)
            raise structlog.DropEvent
        self._seen[kind] = (tokens - 1, now, 0)
        if suppressed:
            event["suppressed"] = suppressed
        return event


def configure(
    level: Literal["debug", "info", "warning", "error"],
    style: Literal["auto", "console", "json"],
    *,
    node_id: str,
    stream: TextIO | None = None,
) -> None:
    """Set up structlog, and the standard library's loggers of what we use, for this process."""
    out = stream if stream is not None else sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    shared: list[Processor] = [
        _add_logger_name,
        structlog.processors.add_log_level,
        FloodGuard(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if console:
        shared.append(structlog.dev.ConsoleRenderer(colors=out.isatty()))
    else:
        shared += [
            _with_node(node_id),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_NamedFactory(out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


class _NamedLogger(structlog.WriteLogger):
    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


class _NamedFactory:
    """Makes loggers that know the name they were asked for by."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *args: Any) -> _NamedLogger:
        return _NamedLogger(self._stream, str(args[0]) if args else "")


def _add_logger_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _with_node(node_id: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["node"] = node_id
        return event

    return add


class _Bridge(logging.Handler):
    """Sends what libraries log (asyncio, aiohttp) through structlog, in one form and guarded."""

    def emit(self, record: logging.LogRecord) -> None:
        log: FilteringBoundLogger = structlog.get_logger(record.name)
        fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        log.log(record.levelno, "library_message", message=record.getMessage(), **fields)
