"""The section about the cluster in the report of a failed test."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chaos.report.node_logs import LINE_CHARS_MAX, read_line
from chaos.testing.cluster import FaultyCluster
from chaos.testing.faults import Faults, InForce

_LOG_LINES: Final = 12


def account(cluster: FaultyCluster, faults: Faults | None) -> str:
    """The faults of the test, those in force when it failed, and the last log lines of the nodes."""
    return "\n".join(_lines(cluster, faults))


def _lines(cluster: FaultyCluster, faults: Faults | None) -> Iterator[str]:
    stopped = [name for name in cluster.names if not cluster.runs(name)]
    yield f"nodes: {', '.join(cluster.names)}" + (f"; not running: {', '.join(stopped)}" if stopped else "")
    yield f"seed of the faults: {cluster.seed} (--floodmark-seed={cluster.seed})"
    if faults is not None:
        yield from (_fault(each, faults.began_s) for each in faults.history)
        if not faults.history:
            yield "no fault was injected"
    yield f"folder: {cluster.folder} (--floodmark-keep keeps it)"
    yield "the last log lines of the nodes (UTC):"
    for name in cluster.names:
        yield from (f"  {name}  {line}" for line in _last_lines(cluster.folder / f"{name}.log"))


def _fault(fault: InForce, test_began_s: float) -> str:
    began = f"{fault.began_s - test_began_s:.1f} s"
    if fault.healed_s is None:
        return f"fault: {fault}, in force since {began}"
    healed = f"{fault.healed_s - test_began_s:.1f} s"
    failed = ", in force when the test failed" if fault.met_failure else ""
    return f"fault: {fault}, from {began} to {healed}{failed}"


def _last_lines(log: Path) -> Iterator[str]:
    if not log.exists():
        return
    with log.open(encoding="utf-8", errors="replace") as said:
        for line in deque(said, _LOG_LINES):
            moment, level, text = read_line(line.rstrip("\n"))
            when = "" if moment is None else f"{moment:%H:%M:%S.%f}"[:-3] + f" {level:7} "
            yield when + text[:LINE_CHARS_MAX]
