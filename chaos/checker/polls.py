"""Each poll of a consumer continues where the previous one ended: no offset twice, only removed ones left
out."""

from __future__ import annotations

from chaos.checker.options import CheckOptions
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, Invoke, Ok, Page, Read


class Polls:
    """Follows every session: the polls of one process in one partition, until it seeks."""

    def __init__(self, options: CheckOptions, findings: Findings) -> None:
        self._options = options
        self._findings = findings
        self._next: dict[tuple[str, int, str, int], Evidence] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if not isinstance(event, Ok) or call is None:
            return
        action, page = call.action, event.result
        if not isinstance(action, Read) or not isinstance(page, Page):
            return
        session = (call.process, action.session, action.topic, action.partition)
        before = self._next.get(session)
        if before is not None and before.offset is not None:
            self._compare(action, before.offset, action.offset, (before, _asked(call, action)))
        expected = action.offset
        for run in page.runs:
            got = _evidence(f"brought offset {run.first_offset}", call, event, run.first_offset)
            self._compare(action, expected, run.first_offset, (_asked(call, action), got))
            expected = run.first_offset + len(run.values)
        end = _evidence(f"ended before offset {page.next_offset}", call, event, page.next_offset)
        self._compare(action, expected, page.next_offset, (_asked(call, action), end))
        self._next[session] = end

    def _compare(self, action: Read, expected: int, offset: int, evidence: tuple[Evidence, Evidence]) -> None:
        removable = self._options.removable.get((action.topic, action.partition), ())
        if offset == expected or (offset > expected and all(o in removable for o in range(expected, offset))):
            return
        if offset > expected:
            kind, summary = Kind.SKIPPED_OFFSETS, f"offsets {expected} to {offset - 1} were skipped"
        else:
            kind, summary = Kind.NON_MONOTONIC_POLL, f"offset {offset} came after offset {expected - 1}"
        self._findings.add(kind, summary, *evidence, topic=action.topic, partition=action.partition)


def _asked(call: Invoke, action: Read) -> Evidence:
    what = f"{call.process} polled from offset {action.offset}"
    return Evidence(what, call.time_ns, action.offset, None, call.node, call.process, call.op)


def _evidence(what: str, call: Invoke, event: Ok, offset: int) -> Evidence:
    return Evidence(what, event.time_ns, offset, None, event.node, call.process, call.op)
