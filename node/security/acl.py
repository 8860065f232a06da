"""Whether entries allow an operation: pure evaluation, compiled so that it takes no longer with more entries.

Nothing is allowed but by an entry, and a denial wins over whatever allows. ``all`` is every operation. Who
may read, write, create, alter or delete something may describe it: that it is there cannot be kept from them.
A topic is created by an entry for the topic or by one for the cluster, and not by whom it is denied to
describe it: the answer would tell whether it is there. Who may write to some topic may write to the cluster,
which is to get a producer's number there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from node.metadata.domains.acls import ALL, CLUSTER, EVERYBODY, OPERATIONS, PREFIX
from node.metadata.domains.users import ANONYMOUS
from node.metadata.state import AclEntry

TOPIC: Final = "topic"
_BITS: Final = {name: 1 << number for number, name in enumerate(OPERATIONS) if name != ALL}
_EVERYTHING: Final = sum(_BITS.values())
_CREATE, _DESCRIBE, _READ, _WRITE = (_BITS[name] for name in ("create", "describe", "read", "write"))


class Asked(NamedTuple):
    """What somebody wants to do."""

    principal: str
    operation: str
    kind: str
    name: str = ""


class _Rules:
    """What the entries of one principal say about one kind: operations allowed and denied, as bits."""

    __slots__ = ("allowed_somewhere", "lengths", "literal", "prefix")

    def __init__(self) -> None:
        self.literal: dict[str, tuple[int, int]] = {}
        self.prefix: dict[str, tuple[int, int]] = {}
        self.lengths: list[int] = []
        """Of the prefixes, each once: a name is looked up once for each of them, however many there are."""
        self.allowed_somewhere = 0

    def add(self, entry: AclEntry) -> None:
        """One more of them."""
        bits = _EVERYTHING if entry.operation == ALL else _BITS[entry.operation]
        found = self.prefix if entry.pattern == PREFIX else self.literal
        allowed, denied = found.get(entry.name, (0, 0))
        if entry.allow:
            found[entry.name] = (allowed | bits | _DESCRIBE, denied)
            self.allowed_somewhere |= bits
        else:
            found[entry.name] = (allowed, denied | bits)
        if entry.pattern == PREFIX and len(entry.name) not in self.lengths:
            self.lengths.append(len(entry.name))

    def of(self, name: str) -> tuple[int, int]:
        """The operations that they allow on it, and those that they deny."""
        allowed, denied = self.literal.get(name, (0, 0))
        size = len(name)
        for length in self.lengths:
            if length <= size and (found := self.prefix.get(name[:length])) is not None:
                allowed |= found[0]
                denied |= found[1]
        return allowed, denied

    def of_all(self, prefix: str) -> tuple[int, int]:
        """What they allow on every name that begins with this, and what they deny on any. It looks at all."""
        allowed = denied = 0
        for name, (_, not_there) in self.literal.items():
            if name.startswith(prefix):
                denied |= not_there
        for name, (there, not_there) in self.prefix.items():
            if prefix.startswith(name):
                allowed |= there
                denied |= not_there
            elif name.startswith(prefix):
                denied |= not_there
        return allowed, denied


class AclIndex:
    """Some entries, compiled. A decision looks at the name only, never at all entries."""

    def __init__(self, entries: Iterable[AclEntry]) -> None:
        self._rules: dict[tuple[str, str], _Rules] = {}
        for entry in entries:
            key = (entry.principal, entry.kind)
            rules = self._rules.get(key)
            if rules is None:
                rules = self._rules[key] = _Rules()
            rules.add(entry)

    def allows(self, asked: Asked) -> bool:
        """Whether somebody may do that."""
        allowed, denied = self._of(asked.principal, asked.kind, asked.name)
        if asked.kind == TOPIC:
            on_cluster, not_on_cluster = self._of(asked.principal, CLUSTER, "")
            if on_cluster & _CREATE:
                allowed |= _CREATE | _DESCRIBE
            denied |= not_on_cluster & _CREATE
            if denied & _DESCRIBE:
                denied |= _CREATE
        elif asked.kind == CLUSTER and asked.operation == "write" and self._writes_somewhere(asked.principal):
            allowed |= _WRITE
        return bool(_BITS[asked.operation] & allowed & ~denied)

    def reads_all(self, principal: str, prefix: str) -> bool:
        """Whether somebody may read, and describe, every topic whose name begins with this, whatever there
        will be."""
        allowed = denied = 0
        for each in _also(principal):
            if (rules := self._rules.get((each, TOPIC))) is not None:
                more, less = rules.of_all(prefix)
                allowed |= more
                denied |= less
        return not (_READ | _DESCRIBE) & ~(allowed & ~denied)

    def mentions(self, principal: str) -> bool:
        """Whether some entry is about it by its name."""
        return any(named == principal for named, _ in self._rules)

    def _of(self, principal: str, kind: str, name: str) -> tuple[int, int]:
        allowed = denied = 0
        for each in _also(principal):
            rules = self._rules.get((each, kind))
            if rules is not None:
                more, less = rules.of(name)
                allowed |= more
                denied |= less
        return allowed, denied

    def _writes_somewhere(self, principal: str) -> bool:
        return any(
            rules.allowed_somewhere & _WRITE
            for each in _also(principal)
            if (rules := self._rules.get((each, TOPIC))) is not None
        )


class Decision(NamedTuple):
    """Whether somebody may do something, and by which entry; by none where nothing says anything of it."""

    allowed: bool
    entry: AclEntry | None


def explain(entries: Iterable[AclEntry], asked: Asked) -> Decision:
    """The decision as ``AclIndex`` makes it, and the most particular entry that makes it so."""
    denying: list[AclEntry] = []
    allowing: list[AclEntry] = []
    for entry in entries:
        if entry.principal in _also(asked.principal):
            if entry.allow:
                allowing.extend(_allows(entry, asked))
            elif _is_about(entry, asked) or (
                (asked.kind, asked.operation) == (TOPIC, "create")
                and _is_about(entry, asked._replace(operation="describe"))
            ):
                denying.append(entry)
    if denying:
        return Decision(allowed=False, entry=max(denying, key=_particular))
    return Decision(allowed=bool(allowing), entry=max(allowing, key=_particular, default=None))


def _is_about(entry: AclEntry, asked: Asked) -> bool:
    """Whether it names the operation and the resource themselves; or the cluster, for a topic's creation."""
    if entry.operation not in (asked.operation, ALL):
        return False
    return _matches(entry, asked.kind, asked.name) or (
        asked.kind == TOPIC and asked.operation == "create" and entry.kind == CLUSTER
    )


def _allows(entry: AclEntry, asked: Asked) -> Iterator[AclEntry]:
    """The entry, where it allows that, as what it says or as what follows from it."""
    if (
        _is_about(entry, asked)
        or (asked.operation == "describe" and _matches(entry, asked.kind, asked.name))
        or (
            (asked.kind, asked.operation) == (TOPIC, "describe")
            and entry.kind == CLUSTER
            and entry.operation in ("create", ALL)
        )
        or (
            (asked.kind, asked.operation) == (CLUSTER, "write")
            and entry.kind == TOPIC
            and entry.operation in ("write", ALL)
        )
    ):
        yield entry


def _matches(entry: AclEntry, kind: str, name: str) -> bool:
    if entry.kind != kind:
        return False
    return name.startswith(entry.name) if entry.pattern == PREFIX else name == entry.name


def _particular(entry: AclEntry) -> tuple[bool, int, bool, bool]:
    return (entry.pattern != PREFIX, len(entry.name), entry.principal != EVERYBODY, entry.operation != ALL)


def _also(principal: str) -> tuple[str, ...]:
    """The principals whose entries are about this one."""
    return (principal,) if principal == ANONYMOUS else (principal, EVERYBODY)
