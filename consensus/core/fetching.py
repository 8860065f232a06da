"""Frames that a replica cannot read, asked for at its peers: committed ones, so theirs are the same.

One peer after the other is asked; whoever has applied the frames and can read them sends as many as fit into
one message. What is asked for is given up only when every member has said for a while that it has nothing to
give.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

from floodmark.format.frame import Frame, FrameKind

from consensus.messages import FramesRequest, FramesResponse
from consensus.types import Fetch
from consensus.wire import APPEND_FRAMES_MAX
from storage.errors import LogCorrupt, OutOfRange

if TYPE_CHECKING:
    from consensus.core.core import Core

RETRY_S: Final = 0.5
"""How long a peer may take to answer before the next one is asked."""
REFUSED_S: Final = 0.1
"""Between two rounds of questions where all have refused."""
GIVE_UP_S: Final = 10.0
"""How long all members must say that they cannot give the frames before that is believed."""
ANSWER_BYTES: Final = 1 << 20
"""Frames in one answer, where one frame alone is not larger."""
ANSWERS_PER_STEP_MAX: Final = 4


class Fetching:
    """Both sides of it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Answers to questions of an earlier life of this replica must not fit the questions of this one.
        self._count = itertools.count(core.random.getrandbits(60))
        self._open: dict[int, _Question] = {}
        self._answered_at = -math.inf
        self._answers = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked for."""
        return not self._open

    @property
    def deadline(self) -> float:
        """When ``look`` should come again though nothing happens."""
        return min(question.due for question in self._open.values()) if self._open else math.inf

    def ask(self, first: int, last: int) -> Fetch:
        """Ask for frames of this log, both ends included."""
        fetch = Fetch()
        self._open[next(self._count)] = _Question(fetch, first, last, self._core.now)
        return fetch

    def look(self) -> None:
        """At the end of every step: ask, ask the next one, or give up."""
        if not self._open:
            return
        core = self._core
        for number, question in list(self._open.items()):
            if question.fetch.done:
                del self._open[number]
            elif core.now >= question.due:
                self._ask(number, question)

    def _ask(self, number: int, question: _Question) -> None:
        core = self._core
        others = core.members.others
        if others <= question.refused and (not others or core.now - question.began >= GIVE_UP_S):
            del self._open[number]
            question.fetch.resolve(None)
            return
        question.due = core.now + RETRY_S
        reachable = sorted(others & core.up)
        if not reachable:
            return
        peer = reachable[question.asked % len(reachable)]
        question.asked += 1
        core.emit(peer, FramesRequest(number, question.first, question.last))

    def on_answer(self, source: str, message: FramesResponse) -> None:
        """Frames, or none, of a peer."""
        question = self._open.get(message.id)
        if question is None or source not in self._core.members.others:
            return
        if _answers(message.frames, question.first, question.last):
            del self._open[message.id]
            question.fetch.resolve(message.frames)
            return
        question.refused.add(source)
        all_refused = self._core.members.others <= question.refused
        question.due = self._core.now + (REFUSED_S if all_refused else 0.0)

    def on_request(self, source: str, message: FramesRequest) -> LogCorrupt | None:
        """A peer's question; the damage of this replica's own that it brought to light."""
        core = self._core
        if core.now != self._answered_at:
            self._answered_at, self._answers = core.now, 0
        self._answers += 1
        if self._answers > ANSWERS_PER_STEP_MAX:
            return None  # It asks again.
        frames: list[Frame] = []
        size, damage = 0, None
        last = min(message.last, core.applied_index, message.first + APPEND_FRAMES_MAX - 1)
        try:
            if core.log.base_index <= message.first <= last:
                for frame in core.log.frames(message.first, last):
                    if frames and size + frame.size > ANSWER_BYTES:
                        break
                    frames.append(frame)
                    size += frame.size
        except OutOfRange:
            frames = []
        except LogCorrupt as error:
            damage = error
        core.emit(source, FramesResponse(message.id, frames))
        return damage

    def abandon(self) -> None:
        """The replica stops."""
        questions, self._open = self._open, {}
        for question in questions.values():
            question.fetch.resolve(None)


def _answers(frames: list[Frame], first: int, last: int) -> bool:
    """Whether these are the frames that hold entries from ``first`` on, up to ``last`` or not as far: without
    a hole between them, and the first and the last may be gaps that reach beyond.
    """
    expected = first
    for frame in frames:
        begins = frame.index == expected
        if expected == first and frame.kind is FrameKind.GAP:
            begins = frame.index <= first <= frame.last_index
        if not begins or expected > last:
            return False
        expected = frame.last_index + 1
    return bool(frames)


class _Question:
    __slots__ = ("asked", "began", "due", "fetch", "first", "last", "refused")

    def __init__(self, fetch: Fetch, first: int, last: int, now: float) -> None:
        self.fetch = fetch
        self.first = first
        self.last = last
        self.began = now
        self.due = now
        self.asked = 0
        self.refused: set[str] = set()
