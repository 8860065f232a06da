"""What one replica wants from its host after a step; the package's docstring tells the whole contract."""

from __future__ import annotations

from msgspec import Struct

from consensus.core.jobs import Job
from consensus.messages import Message
from storage.errors import LogCorrupt


class Ready(Struct, frozen=True, gc=False):
    """Handed over once: what is taken from one ``Ready`` is not in the next one."""

    messages: list[tuple[str, Message]]
    """(node, message), to leave at once and in this order. Nothing that they say depends on what is not
    durable yet."""
    save_vote: bool
    """``Group.save_vote`` has to run, in any thread, and then ``Group.vote_saved``. Until then the group
    takes nothing in, says nothing and has nothing written."""
    flush: bool
    """``log.write`` and ``log.sync`` have to run, in any thread but one at a time, and then
    ``Group.flushed``. Never together with ``save_vote``."""
    jobs: list[Job]
    """To be run in threads, each followed by ``Group.job_done``."""
    deadline: float
    """By the group's clock: when ``step`` is due though nothing arrives; inf while asleep."""
    member_news: bool
    """On a leader: a member was found sound, was found to have lost its data, or has caught up."""
    damage: LogCorrupt | None
    """A frame of this log could not be read for a peer, and is to be mended."""
