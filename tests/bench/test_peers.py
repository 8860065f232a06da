"""The side-by-side benchmark: its statistics, its table, its configurations; no server is started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import document as document_parts
from bench.order import order_of
from bench.paths import DOCUMENT
from bench.payload import payload
from bench.peers import document, starting, systems, table
from bench.peers.results import Figure, Results, load, save
from bench.peers.rounds import Rounds
from bench.peers.servers import etcd, kafka, nats, redis
from bench.peers.servers.base import Servers
from bench.peers.tools import Tools
from bench.peers.work import Job
from bench.processes import Failed
from bench.statistics import spread, times_better


def _figure(variant: str, work: str, round_number: int, *, way: str = "", **changed: float) -> Figure:
    fields = {"size": 1024, "records": 1000, "seconds": 1.0, "p50_ms": None, "p99_ms": None, "p999_ms": None}
    used = {"server_cpu_s": 0.1, "client_cpu_s": 0.05, "written_bytes": 3 * 1000 * 1024}
    return Figure(variant=variant, way=way, work=work, round=round_number, **{**fields, **used, **changed})  # type: ignore[arg-type]


def _results(figures: list[Figure]) -> Results:
    return Results(
        date="2026-01-01",
        machine="a machine",
        scale="2 rounds",
        versions={"python": "3.11"},
        labels={"floodmark": "Floodmark", "kafka": "Kafka", "etcd": "etcd"},
        synced=["floodmark", "etcd"],
        absent={"etcd": "there is no etcd"},
        figures=figures,
    )


def test_spread_is_the_median_of_the_rounds_with_its_bounds() -> None:
    """Three rounds: the middle one, the lowest, the highest."""
    found = spread([30.0, 10.0, 20.0])
    assert (found.median, found.low, found.high, found.rounds) == (20.0, 10.0, 30.0, 3)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_say_how_many_times_better_we_are() -> None:
    """More is better for rates, less for latencies; nothing cannot be compared with."""
    assert times_better(200.0, 100.0, is_lower_better=False) == 2.0
    assert times_better(2.0, 1.0, is_lower_better=True) == 0.5
    assert times_better(200.0, 0.0, is_lower_better=False) is None


def test_table_compares_medians_and_marks_what_acknowledges_on_disk() -> None:
    """We wrote twice as much as Kafka; our other way is beside the first; etcd is absent with its reason."""
    figures = [
        *(_figure("floodmark", "flood", number, way="records", records=2000 + number) for number in range(3)),
        _figure("floodmark", "flood", 0, way="lists", records=4000),
        *(
            _figure("kafka", "flood", number, records=records)
            for number, records in enumerate((900, 1000, 1100))
        ),
    ]
    text = table.markdown(_results(figures))
    assert "| batched writing, 1 KiB records, records/s | 2,001 / 4,000 | 1,000 (2.00x) |" in text
    assert "| **Floodmark, records** | 2,001 (2,000 to 2,002) |" in text
    assert "| Kafka | 1,000 (900 to 1,100) |" in text
    assert "Absent: etcd: there is no etcd." in text


def test_table_does_not_compare_latencies_at_different_rates() -> None:
    """A peer that could only keep up with less has its rate shown in place of a ratio."""
    figures = [
        _figure("floodmark", "paced", 0, p50_ms=1.0, p99_ms=2.0, p999_ms=3.0, target_rate=10_000),
        _figure("kafka", "paced", 0, p50_ms=1.0, p99_ms=1.0, p999_ms=3.0, target_rate=2_000),
    ]
    text = table.markdown(_results(figures))
    assert "| 2.00 at 10,000/s | 1.00 at 2,000/s (at another rate) |" in text
    assert "at another rate" in text


def test_bytes_written_are_those_of_one_server_for_a_byte_of_payload() -> None:
    """Three servers that write every byte once have a figure of one."""
    assert _figure("floodmark", "flood", 0).written_per_byte == 1.0


def test_results_survive_their_file(tmp_path: Path) -> None:
    """What is loaded is what was saved."""
    before = _results([_figure("floodmark", "one", 0, p50_ms=1.0)])
    save(before, tmp_path / "peers.json")
    assert load(tmp_path / "peers.json") == before


def test_rounds_begin_with_another_variant_each() -> None:
    """All are in every round once, and none is always first or always after the same one."""
    assert order_of(0, "abc") == ["a", "b", "c"]
    assert order_of(1, "abc") == ["a", "c", "b"]
    assert order_of(2, "abc") == ["c", "a", "b"]


class _Idle(Servers):
    """No processes: one variant's part of a round is what the test says."""

    def start(self) -> None:
        (self.folder / "data").write_text("something")


def test_a_round_that_fails_is_noted_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before the failure stays; folders are gone; a time that is over ends no round."""
    monkeypatch.setattr(starting, "servers_of", lambda _variant: _Idle)
    told: list[str] = []
    folders: list[Path] = []

    def measure(servers: Servers, number: int) -> Iterator[str]:
        folders.append(servers.folder)
        assert (servers.folder / "data").exists()
        yield f"{servers.variant.name} {number}"
        if (servers.variant.name, number) == (systems.REFERENCE.name, 0):
            raise Failed("a server ended")
        yield "more"

    rounds: Rounds[str] = Rounds(Tools(tmp_path), line=str.upper, tell=told.append)
    kafka_flush = systems.select(["kafka-flush"])[0]
    rounds.run([systems.REFERENCE, kafka_flush], measure, rounds=2)
    first = ["floodmark 0", "kafka-flush 0", "more"]
    assert rounds.figures == [*first, "floodmark 1", "more", "kafka-flush 1", "more"]
    assert rounds.notes == ["round 1 of floodmark: a server ended"]
    assert told[:3] == ["FLOODMARK 0", rounds.notes[0], "KAFKA-FLUSH 0"]
    assert len(folders) == 4
    assert not any(tmp_path.iterdir())
    rounds.run([systems.REFERENCE], measure, rounds=1, minutes_max=-1)
    assert rounds.notes[1:] == ["the time was over before round 1 of floodmark"]


def test_selection_takes_systems_and_variants_by_name() -> None:
    """A system means all its variants; a name that is none is refused with those that are."""
    assert [each.name for each in systems.select(["kafka", "redis-always"])] == [
        "kafka-flush",
        "kafka-default",
        "redis-always",
    ]
    assert systems.select([])[0] is systems.REFERENCE
    with pytest.raises(ValueError, match="there is no 'pulsar'"):
        systems.select(["pulsar"])


def test_nats_syncs_when_it_is_told_to(tmp_path: Path) -> None:
    """The interval stands in the settings of one variant, and not in the other's."""
    ports: dict[str, Any] = {"client_port": 1, "monitor_port": 2, "route_ports": [3, 4, 5]}
    assert "sync_interval: always" in nats.settings(0, folder=tmp_path, sync="always", **ports)
    plain = nats.settings(1, folder=tmp_path, sync="", **ports)
    assert "sync_interval" not in plain
    assert 'listen: "127.0.0.1:4", routes: ["nats://127.0.0.1:3"' in plain


def test_kafka_nodes_are_brokers_and_controllers_of_one_cluster(tmp_path: Path) -> None:
    """All voters are named, and two replicas in sync are asked for."""
    lines = kafka.properties(1, folder=tmp_path, ports=[1, 2, 3], controller_ports=[4, 5, 6]).splitlines()
    assert "node.id=2" in lines
    assert "controller.quorum.voters=1@127.0.0.1:4,2@127.0.0.1:5,3@127.0.0.1:6" in lines
    assert "min.insync.replicas=2" in lines


def test_redis_replicas_follow_the_primary(tmp_path: Path) -> None:
    """The primary follows nobody; all keep an append-only file."""
    primary = redis.arguments(folder=tmp_path, port=1, fsync="always", primary_port=None)
    replica = redis.arguments(folder=tmp_path, port=2, fsync="always", primary_port=1)
    assert "--replicaof" not in primary
    assert replica[-3:] == ["--replicaof", "127.0.0.1", "1"]
    assert primary[primary.index("--appendfsync") + 1] == "always"


def test_etcd_members_know_each_other(tmp_path: Path) -> None:
    """Every member has the whole cluster on its command line."""
    found = etcd.arguments(2, folder=tmp_path, client_ports=[1, 2, 3], peer_ports=[4, 5, 6])
    cluster = found[found.index("--initial-cluster") + 1]
    assert cluster == "n1=http://127.0.0.1:4,n2=http://127.0.0.1:5,n3=http://127.0.0.1:6"
    assert found[found.index("--listen-client-urls") + 1] == "http://127.0.0.1:3"


def test_work_is_the_same_for_all() -> None:
    """Payloads are the same bytes each time, and a job survives its way to the worker."""
    assert payload(100) == payload(100) != payload(1024)[:100]
    job = Job("nats", "flood", "t", ["a:1"], {"sync": "always"}, size=100, count=5)
    assert Job(**json.loads(json.dumps(job.as_dict()))) == job


def test_document_describes_what_is_compared_as_the_code_does_it() -> None:
    """docs/PERFORMANCE.md has the promises and settings of all variants as they stand in the code."""
    text = DOCUMENT.read_text()
    assert document_parts.replace_part(text, "compared", document.compared(systems.VARIANTS)) == text


def test_document_takes_new_figures_between_its_marks() -> None:
    """The rest stays as it is; a document without marks is refused."""
    text = "a\n<!-- figures: written by the benchmark -->\nold\n<!-- figures: end -->\nb\n"
    assert document_parts.replace_part(text, "figures", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no marks for 'compared'"):
        document_parts.replace_part(text, "compared", "new")
