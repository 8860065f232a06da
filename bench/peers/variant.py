"""What is compared: one system in one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Variant:
    """One column of the comparison."""

    name: str
    """As in ``--only`` and in the results: "nats-always"."""
    system: str
    label: str
    is_synced: bool
    """Whether an acknowledged record lies on the disks (fsync) of a majority of three."""
    acknowledged: str
    """What has happened when the client is told that a record is stored."""
    configuration: str
    """What is set, and why; the rest is as the system's makers left it."""
    client: str
    """The Python client, and how it is used."""
    warm_up_s: float = 5.0
    """How long its servers are given each kind of work before anything is measured."""
    options: Mapping[str, str] = field(default_factory=dict)
    """For the system's own files: what sets this variant apart from its siblings."""
    server_options: Mapping[str, str] = field(default_factory=dict)
    """Further settings of its servers themselves, where a system has such."""
