"""A term has one leader."""

from __future__ import annotations

from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Event, Invoke, Leads


class Leaders:
    """The leaders that were seen in each term."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._seen: dict[tuple[str, int], dict[str, Evidence]] = {}

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; only samples of leaders matter, and of a node's only the first per term."""
        del call
        if not isinstance(event, Leads):
            return
        nodes = self._seen.setdefault((event.group, event.term), {})
        if event.node in nodes:
            return
        what = f"{event.node} leads {event.group} in term {event.term}"
        nodes[event.node] = Evidence(what, event.time_ns, node=event.node)
        if len(nodes) > 1:
            summary = f"term {event.term} of {event.group} has leaders {', '.join(sorted(nodes))}"
            self._findings.add(Kind.TWO_LEADERS, summary, *nodes.values())
