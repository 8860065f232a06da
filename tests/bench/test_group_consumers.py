"""The benchmark of consumers in groups: its table, its times, its settings; and all of it on three nodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import document as document_parts
from bench.group_consumers import table
from bench.group_consumers.clients.protocol import Reading
from bench.group_consumers.figures import KINDS, Figure
from bench.group_consumers.session import GroupSession
from bench.group_consumers.variants import VARIANTS, WAYS, select
from bench.group_consumers.watch import Watch
from bench.group_consumers.work import CALLERS, GroupJob, Scale
from bench.paths import DOCUMENT
from bench.peers import document
from bench.peers.rounds import Rounds
from bench.peers.servers import kafka
from bench.peers.servers.base import Servers
from bench.peers.variant import Variant
from tests.bench.here import Here

MACHINE = "machine: a processor"
OURS, KAFKA, _NATS = VARIANTS


class Clock:
    """Stands until it is told to go."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _came(watch: Watch, clock: Clock, seconds: float, keys: str) -> None:
    """Every tenth of a second a record of each partition in ``keys``, and a commit for ``c``."""
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        for key in keys:
            if key == "c":
                watch.commit()
            else:
                watch.record(int(key))


def test_the_longest_times_count_from_the_kill_on_and_until_all_comes_again() -> None:
    """Two seconds nothing, then one partition for one more, then commits for another half."""
    clock = Clock()
    watch = Watch(2, clock)
    watch.record(0)
    clock.now += 30  # what was before does not count
    assert not watch.is_steady
    _came(watch, clock, 6, "01c")
    assert watch.is_steady
    watch.begin()
    _came(watch, clock, 1, "01c")
    assert not watch.has_recovered, "a server's end has not shown yet"
    clock.now += 2
    _came(watch, clock, 1, "0")
    assert not watch.has_recovered
    _came(watch, clock, 0.5, "01")
    assert not watch.has_recovered
    _came(watch, clock, 0.3, "01c")
    assert watch.has_recovered
    assert watch.longest() == {
        "without_record_s": pytest.approx(2.1),
        "without_partition_s": pytest.approx(3.1),
        "without_commit_s": pytest.approx(3.6),
    }


def test_what_does_not_come_back_counts_to_the_end() -> None:
    """A partition that stays without a leader is no reason for a good figure."""
    clock = Clock()
    watch = Watch(2, clock)
    _came(watch, clock, 6, "01c")
    watch.begin()
    _came(watch, clock, 20, "0c")
    assert not watch.has_recovered
    assert watch.longest()["without_partition_s"] == pytest.approx(20)
    assert watch.longest()["without_record_s"] == pytest.approx(0.1)


def test_a_reading_ends_with_its_last_record_or_with_its_time() -> None:
    """Which begins with the first record; one that has none is no figure."""
    whole = Reading(3, seconds=60, patience_s=60)
    assert [whole.came() for _ in range(3)] == [False, False, True]
    assert whole.answer()["records"] == 3
    late = Reading(1_000_000, seconds=0, patience_s=60)
    assert [late.came() for _ in range(256)].count(True) == 1
    assert late.answer()["records"] == 256
    with pytest.raises(ValueError, match="only 0 of 5 records"):
        Reading(5, seconds=0, patience_s=0).answer()


def test_the_table_has_medians_and_says_what_is_missed() -> None:
    """What does not depend on the protocol stands in both of Kafka's columns; what there is not is a dash."""
    figures = [
        *(Figure(OURS.name, "", "plainly", value, number) for number, value in enumerate((900, 1000, 1100))),
        Figure(OURS.name, "", "beside", -12.0, 0),
        Figure(KAFKA.name, "", "plainly", 500, 0),
        Figure(KAFKA.name, "consumer", "beside", -9.0, 0),
        Figure(KAFKA.name, "classic", "beside", -3.0, 0),
    ]
    text = table.markdown(figures, VARIANTS, members=7, machine=MACHINE, notes=["a note"])
    assert text.startswith("- Machine: a processor.\n- Note: a note\n")
    assert "| **Floodmark** | Kafka, `consumer` | Kafka, `classic` | NATS JetStream |" in text
    assert "| records read plainly, /s | 1,000 (900 to 1,100) | 500 | 500 | - |" in text
    assert ", % | -12.0, below -10 | -9.0 | -3.0 | - |" in text
    assert "| 7 members join at once, until each has its partition, s | - | - | - | - |" in text
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1


def test_a_job_survives_its_way_to_the_worker() -> None:
    """As JSON, as that of the other comparison."""
    job = GroupJob("kafka", "read", "t", ["a:1"], {"flush.messages": "1"}, way="classic", group="g")
    assert GroupJob(**json.loads(json.dumps(job.as_dict()))) == job


def test_kafka_syncs_committed_offsets_and_not_records_alone(tmp_path: Path) -> None:
    """The brokers' own setting, which the comparison of records does without."""
    ports = {"ports": [1, 2, 3], "controller_ports": [4, 5, 6]}
    lines = kafka.properties(0, folder=tmp_path, further=KAFKA.server_options, **ports).splitlines()
    assert "log.flush.interval.messages=1" in lines
    assert not any("flush" in line for line in kafka.properties(0, folder=tmp_path, **ports).splitlines())


def test_systems_are_chosen_by_name() -> None:
    """All of them sync; a name that there is not is refused with those that there are."""
    assert [each.system for each in select([])] == ["floodmark", "kafka", "nats"]
    assert all(each.is_synced for each in VARIANTS)
    assert select(["nats"]) == [VARIANTS[2]]
    with pytest.raises(ValueError, match="there is no 'redis'; there are floodmark, kafka, nats"):
        select(["redis"])


def test_the_document_describes_what_is_compared_as_the_code_does_it() -> None:
    """docs/PERFORMANCE.md has the settings as they stand in the code, and a place for the table."""
    text = DOCUMENT.read_text()
    described = document_parts.replace_part(text, "group-consumers-compared", document.compared(VARIANTS))
    assert described == text
    assert "\nwritten\n" in document_parts.replace_part(text, "group-consumers", "written")


class _Listeners(Servers):
    """Servers of a file each, which say when they are there."""

    def start(self) -> None:
        self.run("n1", [sys.executable, "-c", "open('there', 'a').write('x'); import time; time.sleep(60)"])
        self.wait_each([(self.folder / "there").exists], "a start")


def test_a_server_that_was_killed_is_started_again_as_it_was(tmp_path: Path) -> None:
    """And it is waited for."""
    with _Listeners(OURS, Here(tmp_path), tmp_path) as servers:
        first = servers.processes[0]
        servers.kill(0)
        assert first.wait(0)
        (tmp_path / "there").unlink()
        servers.restart(0)
        assert (tmp_path / "there").exists()
        assert servers.processes[0].pid != first.pid
        servers.processes[0].check()


@pytest.mark.long
def test_all_is_measured_on_running_nodes(tmp_path: Path) -> None:
    """Tiny counts: every figure is there, the killed coordinator's group goes on, and nothing is left."""
    scale = Scale(records=2_000, members=4, kills=1, seconds=0.3)
    variant: Variant = OURS
    rounds: Rounds[Figure] = Rounds(Here(tmp_path), line=lambda figure: figure.kind, tell=lambda _: None)
    rounds.run(
        [variant],
        lambda servers, number: GroupSession(servers, scale, number, rounds.note).run(),
        rounds=1,
        minutes_max=2,
    )
    assert rounds.notes == []
    found = {figure.kind: figure.value for figure in rounds.figures}
    assert set(found) == set(KINDS)
    assert WAYS.get(variant.system) is None
    assert all(found[f"commits of {callers}"] > 0 for callers in CALLERS)
    assert found["plainly"] > 0
    assert found["in a group"] > 0
    assert 0 < found["without record"] <= found["without partition"] < 60
    assert 0 < found["without commit"] < 60
    assert found["assignments"] == 0, "a failover starts no rebalance"
    assert not any(tmp_path.iterdir())
