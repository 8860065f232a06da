"""A scenario: a cluster, a workload, and faults on a timeline. ``chaos.scenario.toml_form`` is its text."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.faults.fault import Fault

DEFAULT_TOPIC = "orders"
RACES_TOPIC = "races"
"""The topic that only the racers write to: one partition, with as many replicas as the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What clients do, all the time.

    records_per_s         of all producers together
    record_bytes          the size of a record's value
    list_records          every other request of a producer holds one record, the others this many
    idempotent_producers  each the client's Producer
    plain_producers       each sends every record once, whatever comes back
    tailing_consumers     each polls every partition and continues where it ended
    rereading_consumers   each reads every partition from the start, again and again
    group_members         members of one consumer group, that join, leave, stand still and die
    queue_workers         of one queue of the first topic, in order of keys: they settle, die and stand still
    delayed_per_s         records with a delay of up to 3 s, where there are queue workers
    broken_every_s        about how often what queue workers call breaks, so that all fail; 0: never
    racers                each appends with If-Offset to the partition for which all racers compete
    pause_s               about how long a pause without requests is, in which groups fall asleep; 0: none
    pause_every_s         about how often there is one
    pause_at_faults       the share of the faults that begin while something sleeps
    topic_admins          each creates, alters, describes and deletes topics of its own, and the others'
    """

    records_per_s: float = 200.0
    record_bytes: int = 200
    list_records: int = 10
    idempotent_producers: int = 2
    plain_producers: int = 2
    tailing_consumers: int = 1
    rereading_consumers: int = 1
    group_members: int = 0
    queue_workers: int = 0
    delayed_per_s: float = 4.0
    broken_every_s: float = 10.0
    racers: int = 2
    topic_admins: int = 2
    pause_s: float = 2.5
    pause_every_s: float = 12.0
    pause_at_faults: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFault:
    """A fault that is put into force ``at_s`` after the workload began, and healed ``for_s`` later.

    ``when_ready``: not before every node is ready, however long that takes. A fault that costs a replica its
    data must not coincide with another replica that has not got its data back.
    """

    at_s: float
    for_s: float
    fault: Fault
    when_ready: bool = False

    @property
    def name(self) -> str:
        """Its name in histories and reports, without nodes, which are known later."""
        return f"{self.fault.kind} on {self.fault.aim.target.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run's plan. ``duration_s`` is the time of the timeline: start, healing and checks come on top.

    topics, partitions, replication   every topic that records are written to has this many of each
    seed                              of everything random in the run; None: each run draws one
    gap_s_max                         how long a partition may store nothing although asked; None: no limit
    scrub_interval_s                  how long nodes rest before they read all that is stored again
    secure                            TLS on every link, and clients have to say who they are
    ready_s_max                       how long all nodes may take to get ready once all is healed
    """

    name: str
    description: str = ""
    nodes: int = 3
    duration_s: float = 30.0
    seed: int | None = None
    topics: tuple[str, ...] = (DEFAULT_TOPIC,)
    partitions: int = 2
    replication: int = 3
    ready_s_max: float = 120.0
    gap_s_max: float | None = None
    scrub_interval_s: float | None = None
    secure: bool = False
    workload: Workload = field(default_factory=Workload)
    faults: tuple[TimedFault, ...] = ()

    @property
    def further(self) -> int:
        """How many nodes join."""
        return sum(timed.fault.brings_nodes for timed in self.faults)
