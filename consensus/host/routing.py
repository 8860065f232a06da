"""From the links to the groups: messages to the one they are for, news of a peer to all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from consensus.core.group import Group
from consensus.host.absences import Absences
from consensus.host.host_types import HostHooks, Slot
from consensus.links.framing import FramingError
from consensus.links.link_types import LinkHooks
from consensus.wire import WireError, decode_packet


def link_hooks(
    slots: Mapping[int, Slot], wake: Callable[[Slot], None], hooks: HostHooks, absences: Absences
) -> LinkHooks:
    """What the links call. ``slots`` is the host's own table, which changes."""

    def each(tell: Callable[[Group], None]) -> None:
        for slot in slots.values():
            tell(slot.group)
            if not slot.group.asleep:
                wake(slot)

    def deliver(peer: str, header: memoryview, body: memoryview) -> list[str]:
        too_new: list[str] = []
        try:
            messages = decode_packet(header, body, too_new.append)
        except WireError as error:
            raise FramingError(str(error)) from error
        for raft_group, message in messages:
            # A group that is not here (yet, or any more) misses messages, as on a lossy link.
            slot = slots.get(raft_group)
            if slot is not None and slot.group.receive(peer, message):
                wake(slot)
        return too_new

    def peer_up(peer: str, version: int) -> None:
        each(lambda group: group.links.peer_up(peer, version))
        absences.peer_up(peer)
        hooks.on_peer_up(peer, version)

    def peer_down(peer: str) -> None:
        each(lambda group: group.links.peer_down(peer))
        hooks.on_peer_down(peer)

    return LinkHooks(
        deliver=deliver,
        peer_up=peer_up,
        peer_down=peer_down,
        peer_silent=lambda peer: each(lambda group: group.links.peer_silent(peer)),
        peer_gone=lambda peer: each(lambda group: group.links.peer_gone(peer)),
        on_hello=hooks.on_hello,
        announce=hooks.announce,
        answer=hooks.answer,
        on_announcement=hooks.on_announcement,
        boot=hooks.boot,
        on_boot=hooks.on_boot,
        tls_refused=hooks.tls_refused,
    )
