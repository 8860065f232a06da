"""What a state machine is that keeps its state in files of its own: one whose state is too large to be put
whole into every checkpoint, and to be sent whole to a follower.

Such a machine has ``large_state = True`` and never gives its state as one piece. It *freezes*: the view that
it returns yields the state as it was at that moment, block by block, while frames go on being applied. It
takes a state in through a loader, which is fed blocks in any thread, and is then put into its place at once.

Checkpoints that name a file, and the messages that bring one to a follower, are of feature level 2: whoever
makes such a machine sees to it that the cluster has it. (Peers of an older protocol are sent none of them.)

Every call of the machine is made on the thread of its group; none may take longer than some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeGuard

from floodmark.format.frame import Frame


class View(Protocol):
    """The state as it was when it was frozen."""

    def blocks(self) -> Iterator[bytes]:
        """Its parts, of 1 byte to ``BLOCK_BYTES_MAX`` each; any that ``Loader.feed`` takes, in order.

        The next one is asked for on the thread of the group, at any time later.
        """

    def close(self) -> None:
        """The view is not needed any more, whether or not all of it was read."""


class Loader(Protocol):
    """A state that is being built beside the machine's own."""

    def feed(self, block: bytes | memoryview) -> None:
        """The next block; holds only during the call. In any thread. Raises ``ValueError`` for what no
        machine has written."""

    def forget(self) -> None:
        """It is not wanted. In a thread, for that may take long; so others must be let run meanwhile."""


class LargeMachine(Protocol):
    """The contract. ``apply`` is that of ``StateMachine``."""

    large_state: bool
    """True."""

    def apply(self, frame: Frame) -> None:
        """See ``StateMachine``. Frames that the state covers are not given again."""

    def freeze(self) -> View:
        """The state as of now; there is one view at a time."""

    def loader(self) -> Loader:
        """One for a state that begins empty."""

    def adopt(self, loader: Any, index: int) -> object:
        """Replace the state by what ``loader`` has built, which covers all frames up to ``index``.

        Ends the view, if there is one. What comes back is of the old state, if it takes long to be forgotten:
        called in a thread, it forgets.
        """


def is_large(machine: object) -> TypeGuard[LargeMachine]:
    """Whether a machine keeps its state in files of its own."""
    return bool(getattr(machine, "large_state", False))
