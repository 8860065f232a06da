"""Keeps the nodes of a local cluster running, and reports what happens to them.

Until all of them have been ready once, a node that ends is an error: its setup is wrong. After that a node
that ends is started again after a pause, and the others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from local.children import Child, start_child, stop_children
from local.errors import NodesEnded, NoKeeper, NotReady
from local.folder import LocalNode
from local.ports import is_free
from local.readiness import wait_ready
from local.restarts import VAIN_STARTS_MAX, Restarts


class Keeper:
    """Start the nodes, ``keep`` them running in a task, and at the end cancel that and ``stop`` them.

    ``tell`` gets messages for people; ``by_hand`` is the command that starts a node, without its
    ``--config FILE``.
    """

    def __init__(
        self, nodes: Sequence[LocalNode], restarts: Restarts, *, tell: Callable[[str], None], by_hand: str
    ) -> None:
        self._nodes = nodes
        self._restarts = restarts
        self._tell = tell
        self._by_hand = by_hand
        self._children: dict[str, Child] = {}
        self._were_ready = False
        self._asked: dict[str, asyncio.Future[Child]] = {}
        """Nodes under restart -> future of the new process."""
        self.started: dict[str, int] = {}
        """How often each node was started."""

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each node, even of one that has ended."""
        return {name: child.process.pid for name, child in self._children.items()}

    async def start(self) -> None:
        """Start all, one by one, so that those that run can be stopped if the next one fails."""
        for node in self._nodes:
            await self._start(node)

    async def wait_ready(self) -> None:
        """Wait until all are ready. Raises ``NotReady``."""
        await wait_ready(self._nodes)
        self._were_ready = True

    async def keep(self) -> NoReturn:
        """Keep the nodes running. Raises ``NodesEnded`` if one ends before all were ready, or when no node is
        left that would be started again."""
        keeping = [asyncio.create_task(self._keep(node)) for node in self._nodes]
        try:
            ends = await asyncio.gather(*keeping)
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
        raise NodesEnded(f"no node is left: {'; '.join(ends)}")

    async def restart(self, name: str) -> Child:
        """Stop a running node, start it again at once, and return the new process. Only while ``keep`` runs.

        Raises ``NoKeeper`` if it is not running, or cannot be started again.
        """
        child = self._children[name]
        if not child.runs or name in self._asked:
            raise NoKeeper(f"{name} is not running")
        started: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked[name] = started
        await stop_children([child])
        return await started

    async def stop(self) -> list[Child]:
        """Stop all that run; returns those that had to be killed."""
        return await stop_children(list(self._children.values()))

    async def _start(self, node: LocalNode) -> Child:
        child = await start_child(node.name, config=node.config, log=node.log)
        self._children[node.name] = child
        self.started[node.name] = self.started.get(node.name, 0) + 1
        return child

    async def _keep(self, node: LocalNode) -> str:
        """Keep one node running; returns how it ended once it will not be started again."""
        vain_starts = 0
        while True:
            child = self._children[node.name]
            code = await child.process.wait()
            ended = f"{node.name} {_how(code)}"
            if (asked := self._asked.pop(node.name, None)) is not None:
                self._tell(f"{ended}, as requested")
                vain_starts = 0 if await self._starts_as_asked(node, asked) else 1
                continue
            if not self._were_ready:
                self._tell_last_lines(child)
                raise NodesEnded(f"{ended} before the cluster was ready")
            if code > 0:
                self._tell_last_lines(child)
            pause_s = self._restarts.pause_s(vain_starts)
            self._tell(f"{ended}; {self._others()}; {self._what_next(node, vain_starts, pause_s)}")
            if pause_s is None:
                return ended
            await asyncio.sleep(pause_s)
            if not is_free(node.http_port):
                self._tell(f"{node.name} is not started again: its port {node.http_port} is taken")
                return ended
            vain_starts = 0 if await self._gets_ready(node) else vain_starts + 1

    async def _starts_as_asked(self, node: LocalNode, asked: asyncio.Future[Child]) -> bool:
        """Start it at once, whatever ``Restarts`` says; False if it ends before it is ready."""
        try:
            child = await self._start(node)
        except BaseException:
            asked.set_exception(NoKeeper(f"{node.name} cannot be started again"))
            raise
        asked.set_result(child)
        return await self._runs_ready(node, child)

    async def _gets_ready(self, node: LocalNode) -> bool:
        """Start it and wait until it is ready; False if it ends before that."""
        return await self._runs_ready(node, await self._start(node))

    async def _runs_ready(self, node: LocalNode, child: Child) -> bool:
        began = time.monotonic()
        self._tell(f"{node.name} is started again (pid {child.process.pid})")
        ended = asyncio.create_task(child.process.wait())
        ready = asyncio.create_task(self._patiently_ready(node))
        try:
            await asyncio.wait([ended, ready], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return False
            ready.result()
            self._tell(f"{node.name} is ready again, {time.monotonic() - began:.1f} s after its start")
            return True
        finally:
            ended.cancel()
            ready.cancel()
            await asyncio.gather(ended, ready, return_exceptions=True)

    async def _patiently_ready(self, node: LocalNode) -> None:
        while True:
            try:
                return await wait_ready([node])
            except NotReady as error:  # Perhaps a majority is missing: go on waiting.
                self._tell(f"{node.name} runs again, but {error}")

    def _others(self) -> str:
        running = [name for name, child in self._children.items() if child.runs]
        majority = len(self._nodes) // 2 + 1
        if not running:
            return "no other node runs"
        go_on = f"{', '.join(running)} go{'' if len(running) > 1 else 'es'} on"
        return go_on if len(running) >= majority else f"{go_on}, short of a majority ({majority} nodes)"

    def _what_next(self, node: LocalNode, vain_starts: int, pause_s: float | None) -> str:
        if pause_s is not None:
            return f"{node.name} is started again in {pause_s:g} s"
        why = (
            f"after {vain_starts} failed starts it is not restarted any more; "
            if vain_starts >= VAIN_STARTS_MAX
            else ""
        )
        return f"{why}to start {node.name} again: {self._by_hand} --config {node.config}"

    def _tell_last_lines(self, child: Child) -> None:
        self._tell(f"the last lines of {child.log}:\n{child.last_lines()}")


def _how(code: int) -> str:
    if code < 0:
        return f"was killed (signal {-code})"
    return f"ended by itself with exit code {code}" if code else "stopped in order"
