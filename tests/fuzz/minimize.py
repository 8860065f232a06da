"""Few inputs that reach all that many reach: what of a grown corpus is worth keeping."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from tests.fuzz.target import Target

_ROOT: Final = str(Path(__file__).parents[2])
_ROOMS: Final = tuple(f"{_ROOT}/{room}/" for room in ("client", "consensus", "node", "storage"))
_Step = tuple[CodeType, int, int]


class _Steps:
    """The steps from line to line of this project's code, while it traces."""

    def __init__(self) -> None:
        self.found: set[_Step] = set()

    def enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """For ``sys.settrace``."""
        code = frame.f_code
        if not code.co_filename.startswith(_ROOMS):
            return None
        last = 0

        def step(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal last
            self.found.add((code, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step


def minimized(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """The smallest first, each for which the ones before it do not reach the same steps."""
    reached: set[_Step] = set()
    kept = []
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        steps = _Steps()
        sys.settrace(steps.enter)
        try:
            with contextlib.suppress(Exception):  # What breaks something is kept anyway.
                target.run(data)
        finally:
            sys.settrace(None)
        if not steps.found <= reached:
            reached |= steps.found
            kept.append(data)
    return kept
