"""How often each system waits for the disk: fsync and its kin, counted with strace while one caller writes.

A system that promises to sync has to show it here: at least once for each record on a majority of servers.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.peers.servers.base import Servers
from bench.peers.starting import started
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.peers.work import Job
from bench.peers.worker_process import run_worker
from bench.processes import Failed, ServerProcess

_CALLS = "fsync,fdatasync,msync,sync_file_range,openat"
_SYNC = r"\b(?:fsync|fdatasync|msync|sync_file_range)\(.*"
_TOPIC = "t"
_WAY = "client"
"""Floodmark's; the others have one."""
_ATTACH_S = 1.5
_SECONDS = 2.0


def report_syncs(variants: Sequence[Variant], tools: Tools) -> int:
    """Print one line for each variant."""
    if shutil.which("strace") is None:
        print("there is no strace here; on Debian: apt-get install strace")
        return 1
    for variant in variants:
        try:
            with started(variant, tools) as servers:
                print(_count(servers, tools), flush=True)
        except Failed as error:
            print(f"{variant.name}: {error}", flush=True)
    return 0


def _count(servers: Servers, tools: Tools) -> str:
    variant = servers.variant
    create = servers.job(Job, seconds=_SECONDS).to("create", _TOPIC, lead_in_s=0)
    run_worker(tools, create)
    with _traced(servers) as traces:
        wrote = run_worker(tools, create.to("waiting", _TOPIC, way=_WAY))
    texts = [trace.read_text(errors="replace") for trace in traces]
    sync = re.compile(_SYNC + re.escape(servers.record_files))
    counts = [len(sync.findall(text)) for text in texts]
    opened = sum(text.count("O_SYNC") + text.count("O_DSYNC") for text in texts)
    each = ", ".join(f"{count / max(1, wrote.records):.2f}" for count in counts)
    return (
        f"{variant.name:<16} {wrote.records:>6} records; syncs per record on each server: {each}; "
        f"files opened with O_SYNC or O_DSYNC meanwhile: {opened}"
    )


@contextmanager
def _traced(servers: Servers) -> Iterator[list[Path]]:
    """strace on every server; it writes to files that are complete after."""
    tracers: list[ServerProcess] = []
    traces = []
    try:
        for process in servers.processes:
            trace = servers.folder / f"{process.pid}.strace"
            command = ["strace", "-f", "-y", "-qq", "-e", f"trace={_CALLS}", "-o", str(trace)]
            command += ["-p", str(process.pid)]
            tracers.append(ServerProcess(command, log=servers.folder / "strace.log", cwd=servers.folder))
            traces.append(trace)
        time.sleep(_ATTACH_S)
        yield traces
    finally:
        for tracer in tracers:
            tracer.signal(signal.SIGINT)
            tracer.wait(5)
