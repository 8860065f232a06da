"""The simulated network: one directed link per ordered pair of nodes, each behaving as a TCP connection does.

Within one connection messages arrive in order and at most once, later or never. What breaks is the
connection: then everything under way is lost, the sender learns of it a while later, and it connects again
when it can. A link can also *stall*: what is sent waits, and arrives late when the stall ends or never when
the connection breaks, which is how replies come back to a leader that has meanwhile been deposed and elected
again.

Every link carries a beat ten times a second besides. It is not an event here: a sweep asks which links would
have carried one, and tells those to whom a peer has fallen silent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace

M = TypeVar("M")
BEAT_S = 0.1
SILENCE_S = 0.5
GONE_S = 1.5


@dataclass(slots=True)
class NetworkOptions:
    """How well a link works when nothing is wrong. Times in seconds."""

    delay_min_s: float = 0.001
    delay_max_s: float = 0.01
    reconnect_max_s: float = 0.3
    """A connection that can be made is made within this time."""
    detect_max_s: float = 0.2
    """A sender learns of a broken connection within this time."""
    queue_max: int = 2_000
    """Messages under way on one link; past it the sender gives the connection up, as a bounded queue does."""


@dataclass(slots=True, eq=False)
class Link(Generic[M]):
    """One direction between two nodes."""

    source: str
    target: str
    up: bool = False
    """A connection stands, as far as the sender knows."""
    broken: bool = False
    """It has broken and the sender does not know yet."""
    cut: bool = False
    """The network makes and keeps no connection."""
    gone: bool = False
    """The cut is for good."""
    stalled: bool = False
    """The network keeps the connection and delivers nothing."""
    extra_delay_s: float = 0.0
    epoch: int = 0
    last_arrival: float = 0.0
    under_way: int = 0
    waiting: list[M] = field(default_factory=list)


class Network(Generic[M]):
    """Carries messages. ``deliver`` hands one to its target, ``notify`` tells a source that its link is up or
    down, ``silent`` tells a node that nothing comes of a peer, ``welcomes`` says whether both let a
    connection be made.
    """

    def __init__(
        self,
        names: list[str],
        scheduler: Scheduler,
        rng: random.Random,
        trace: Trace,
        options: NetworkOptions,
        *,
        deliver: Callable[[str, str, M], None],
        notify: Callable[[str, str, bool], None],
        silent: Callable[[str, str], None] = lambda _node, _peer: None,
        gone: Callable[[str, str], None] = lambda _node, _peer: None,
        again: Callable[[M], float | None] = lambda _: None,
        welcomes: Callable[[str, str], bool] = lambda _source, _target: True,
    ) -> None:
        self.options = options
        self.links: dict[tuple[str, str], Link[M]] = {
            (a, b): Link(a, b) for a in names for b in names if a != b
        }
        self.alive: dict[str, bool] = dict.fromkeys(names, False)
        self.heard: dict[tuple[str, str], float] = {}
        """When a message last arrived, by (source, target)."""
        self._beaten: dict[tuple[str, str], float] = {}
        self.mute: set[str] = set()
        """Nodes whose process stands still: their connections stay and carry nothing."""
        self.delivered = 0
        self._scheduler = scheduler
        self._rng = rng
        self._trace = trace
        self._deliver = deliver
        self._notify = notify
        self._silent = silent
        self._gone = gone
        self._again = again
        self._welcomes = welcomes
        self._knocking: set[tuple[str, str]] = set()
        """Connections that were refused, and are tried again."""
        self._told_silent: set[tuple[str, str]] = set()
        self._told_gone: set[tuple[str, str]] = set()
        scheduler.after(BEAT_S, self._beat)

    def set_alive(self, name: str, alive: bool) -> None:
        """A process started or died: its connections are made, or break."""
        self.alive[name] = alive
        for link in self.links.values():
            if name in (link.source, link.target):
                if alive:
                    self._connect_soon(link)
                else:
                    self.break_connection(link.source, link.target)

    def connected_to(self, source: str) -> list[str]:
        """The nodes that a connection of ``source`` stands to, as far as it knows."""
        return [link.target for link in self.links.values() if link.source == source and link.up]

    def break_connection(self, source: str, target: str) -> None:
        """Lose what is under way; the sender finds out later and connects anew when it can."""
        link = self.links[source, target]
        if not link.up:
            return
        if not self.alive[source]:
            self._lose(link)
            link.up = link.broken = False
        elif not link.broken:
            self._lose(link)
            link.broken = True
            epoch = link.epoch
            delay = self._rng.uniform(0.0, self.options.detect_max_s)
            self._scheduler.after(delay, lambda: self._detected(link, epoch))

    def set_cut(self, source: str, target: str, cut: bool) -> None:
        """Break the connection for as long as the cut lasts."""
        link = self.links[source, target]
        link.cut = cut or link.gone
        if link.cut:
            self.break_connection(source, target)
        else:
            self._connect_soon(link)

    def cut_for_good(self, source: str, target: str) -> None:
        """Cut, whatever mends later."""
        self.links[source, target].gone = True
        self.set_cut(source, target, True)

    def set_stalled(self, source: str, target: str, stalled: bool) -> None:
        """Keep the connection and hold back what is sent; ending the stall delivers it, late and in order."""
        link = self.links[source, target]
        link.stalled = stalled
        if not stalled:
            waiting, link.waiting = link.waiting, []
            for message in waiting:
                self._hand_over(link, message)

    def heal(self) -> None:
        """No cut, no stall, no slow link."""
        for link in self.links.values():
            link.extra_delay_s = 0.0
            self.set_stalled(link.source, link.target, False)
            self.set_cut(link.source, link.target, False)

    def send(self, source: str, target: str, message: M) -> None:
        """Put a message on the link; lost when no connection stands."""
        link = self.links[source, target]
        if not link.up or link.broken:
            return
        if link.under_way >= self.options.queue_max:
            self._trace.add(self._scheduler.now, source, f"queue to {target} is full, connection given up")
            self.break_connection(source, target)
            return
        link.under_way += 1
        options = self.options
        delay = self._rng.uniform(options.delay_min_s, options.delay_max_s) + link.extra_delay_s
        link.last_arrival = max(link.last_arrival, self._scheduler.now + delay)
        epoch = link.epoch
        self._scheduler.at(link.last_arrival, lambda: self._arrive(link, epoch, message))

    def _beat(self) -> None:
        now = self._scheduler.now
        for pair, link in self.links.items():
            if link.up and not link.broken and not link.stalled and link.source not in self.mute:
                self._beaten[pair] = now
                self._told_silent.discard(pair)
                self._told_gone.discard(pair)
                continue
            quiet_s = now - max(self._beaten.get(pair, 0.0), self.heard.get(pair, 0.0))
            hears = self.alive[link.target] and link.target not in self.mute
            if quiet_s > SILENCE_S and pair not in self._told_silent:
                self._told_silent.add(pair)
                if hears:
                    self._silent(link.target, link.source)
            if quiet_s > GONE_S and pair not in self._told_gone:
                self._told_gone.add(pair)
                if hears:
                    self._gone(link.target, link.source)
        self._scheduler.after(BEAT_S, self._beat)

    def _lose(self, link: Link[M]) -> None:
        link.epoch += 1
        link.waiting.clear()
        link.under_way = 0

    def _arrive(self, link: Link[M], epoch: int, message: M) -> None:
        if epoch != link.epoch:
            return
        if link.stalled:
            link.waiting.append(message)
            return
        self._hand_over(link, message)

    def _hand_over(self, link: Link[M], message: M) -> None:
        link.under_way -= 1
        if not self.alive[link.target]:
            return
        self.heard[link.source, link.target] = self._scheduler.now
        self._told_silent.discard((link.source, link.target))
        self._told_gone.discard((link.source, link.target))
        self.delivered += 1
        self._deliver(link.source, link.target, message)
        delay = self._again(message)
        if delay is not None:
            self._scheduler.after(delay, lambda: self._hand_over_again(link, message))

    def _hand_over_again(self, link: Link[M], message: M) -> None:
        """Worse than what links promise: a message that has come before comes once more, late."""
        if self.alive[link.target]:
            self._deliver(link.source, link.target, message)

    def _detected(self, link: Link[M], epoch: int) -> None:
        if not link.broken or epoch != link.epoch or not self.alive[link.source]:
            return
        link.up = link.broken = False
        self._notify(link.source, link.target, False)
        if not self.alive[link.target] and not link.cut and link.source not in self.mute:
            # Nobody listens there, and its own connection to here has ended with it.
            self._told_gone.add((link.target, link.source))
            self._gone(link.source, link.target)
        self._connect_soon(link)

    def _connect_soon(self, link: Link[M]) -> None:
        delay = self._rng.uniform(0.0, self.options.reconnect_max_s)
        self._scheduler.after(delay, lambda: self._connect(link))

    def _knock(self, link: Link[M]) -> None:
        pair = link.source, link.target

        def again() -> None:
            self._knocking.discard(pair)
            self._connect(link)

        if pair not in self._knocking:
            self._knocking.add(pair)
            self._scheduler.after(self._rng.uniform(0.2, 0.6), again)

    def _connect(self, link: Link[M]) -> None:
        if link.up or link.cut or not (self.alive[link.source] and self.alive[link.target]):
            return
        if not self._welcomes(link.source, link.target):
            self._knock(link)
            return
        link.up, link.broken = True, False
        link.epoch += 1
        link.last_arrival = self._scheduler.now
        self._trace.add(self._scheduler.now, link.source, f"connected to {link.target}")
        self._notify(link.source, link.target, True)
