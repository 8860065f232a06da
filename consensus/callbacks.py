"""Telling those who wait: a defect of one of them is told in the log and keeps nothing from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger("consensus.callbacks")


def tell_all(callbacks: Iterable[Callable[[T], None]], value: T) -> None:
    """Call each once.

    They run in the middle of a group's step, between one entry and the next: what one of them raises must
    neither end that step nor make it begin again (H7).
    """
    for callback in callbacks:
        try:
            callback(value)
        except Exception:  # noqa: BLE001
            _log.exception("callback_defect")
