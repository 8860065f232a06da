"""The node processes of a local cluster: start, kill, stop and restart them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection, Iterable
from pathlib import Path

from local.administrator import take_token
from local.children import Child, start_child, stop_children
from local.errors import NotReady
from local.folder import LocalFolder, LocalNode, Routes, direct
from local.ports import PortBlock
from local.readiness import READY_TIMEOUT_S, wait_ready

_LAST_LINES = 15


class LocalCluster:
    """Node processes n1, n2, ... on loopback, with their data below ``folder``, on ports chosen at random.

    Nothing runs before ``start``. Call ``close`` at the end, after the last process.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        routes: Routes = direct,
        further: int = 0,
        secure: bool = False,
    ) -> None:
        """``further``: how many nodes ``add`` may add, which ``routes`` has to know from the beginning.

        ``secure``: with TLS and authentication; call ``take_token`` once nodes run.
        """
        self.folder = folder
        self._lock = LocalFolder(folder)
        if secure:
            self._lock.make_secure()
        self.access = self._lock.access
        """How its nodes are asked by an administrator."""
        self._ports = PortBlock()
        self._http_port, self._peer_port = self._ports.first, self._ports.first + PortBlock.count // 2
        nodes = self._lock.choose(count + further, http_port=self._http_port, peer_port=self._peer_port)
        self._routes = routes(nodes)
        for node in nodes[:count]:
            self._lock.write_founder(node, nodes[:count], self._routes[node.name])
        self.nodes: dict[str, LocalNode] = {node.name: node for node in nodes[:count]}
        self.further: dict[str, LocalNode] = {node.name: node for node in nodes[count:]}
        """Nodes that were not added yet."""
        self.children: dict[str, Child] = {}
        """Nodes that were started and not ended by us, paused ones included."""
        self.code: dict[str, Path] = {}
        """Node -> folder with the packages of another build, which it runs from its next start on."""

    def add(self, name: str, *, seeds: Collection[str] = ()) -> LocalNode:
        """Write the settings of a node that joins the ``seeds``, or all others, when it is started.

        A node that was there before keeps its ports and its folder.
        """
        others = [node for other, node in self.nodes.items() if other != name]
        node = self.nodes.get(name) or self.further.pop(name, None)
        if node is None:
            number = len(self.nodes) + len(self.further)
            node = self._lock.further(
                name,
                [*others, *self.further.values()],
                http_port=self._http_port + number,
                peer_port=self._peer_port + number,
            )
        self.nodes[name] = node
        seeding = [other for other in others if not seeds or other.name in seeds]
        self._lock.write_newcomer(node, seeding, self._routes.get(name))
        return node

    def data_dir(self, name: str) -> Path:
        """The data folder of one node."""
        return self.folder / name

    async def start(self, *names: str) -> None:
        """Start the named nodes, or all."""
        for name in names or self.nodes:
            node = self.nodes[name]
            self.children[name] = await start_child(
                name, config=node.config, log=node.log, code=self.code.get(name)
            )

    async def ready(self, *names: str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the named nodes, or all, are ready. Raises ``NotReady``, at once if one of them ends by
        itself."""
        wanted = names or tuple(self.nodes)
        await wait_ready(
            [self.nodes[name] for name in wanted],
            timeout_s=timeout_s,
            look=lambda: self._must_run(wanted),
        )

    async def take_token(self) -> None:
        """Of a secure cluster: wait until it has an administrator, whose token ``access`` has then."""
        await take_token(list(self.nodes.values()), self.access, self.folder)

    async def kill(self, *names: str) -> None:
        """Send SIGKILL to all of them before waiting for any."""
        self._signal(signal.SIGKILL, names)
        for name in names:
            await self.children.pop(name).process.wait()

    def pause(self, *names: str) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP, names)

    def resume(self, *names: str) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT, names)

    async def stop(self, *names: str) -> dict[str, int | None]:
        """Send SIGTERM to the named nodes, or all that run; returns their exit codes."""
        gone = {name: self.children.pop(name) for name in names or tuple(self.children)}
        await stop_children(list(gone.values()))
        return {name: child.process.returncode for name, child in gone.items()}

    def close(self) -> None:
        """Release the folder and the ports."""
        self._lock.close()
        self._ports.close()

    def logs(self) -> str:
        """The last log lines of every node, for error reports."""
        return "".join(
            "".join(
                f"{name}: {line}\n"
                for line in node.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            )
            for name, node in self.nodes.items()
            if node.log.exists()
        )

    def _must_run(self, names: Iterable[str]) -> None:
        """Raise if one of these ended by itself. Those that we ended are not among the children."""
        for child in (self.children[name] for name in names if name in self.children):
            if not child.runs:
                raise NotReady(
                    f"{child.name} ended with {child.process.returncode} before it was ready;"
                    f" its last lines:\n{child.last_lines()}"
                )

    def _signal(self, number: signal.Signals, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                self.children[name].process.send_signal(number)
