"""The report of a short history that is told event by event has exactly its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.history import Produce, Produced
from chaos.report.bands import BandMaker
from chaos.report.document import Band, Fault, Gap, Latency, Leaders, Outage, Pause, Recovery
from chaos.report.latencies import Latencies
from chaos.report.series import BUCKETS_MAX, bucket_ms
from chaos.report.timescale import Timescale
from tests.chaos.reported import report_of, run_of
from tests.chaos.story import TOPIC, Story, replica, replicas, v, vs


def test_every_record_is_counted_once_by_the_best_that_was_heard_of_it(tmp_path: Path) -> None:
    """Acknowledged after an unknown outcome is acknowledged; below a quorum, or unanswered, is unknown."""
    story = Story()
    story.produce(vs(0, 1))
    story.produce(vs(0, 1), at=0)
    story.produce([v(1)])
    story.fail(story.invoke(Produce(TOPIC, 0, vs(2, 3, 4))))
    story.produce([v(2)])
    story.produce([v(5)], at=2, acks="leader")
    story.invoke(Produce(TOPIC, 0, vs(6, 7)))
    figures = report_of(run_of(story, tmp_path, *replicas(vs(0, 1)))).figures
    assert (figures.records_sent, figures.records_acknowledged) == (8, 2)
    assert (figures.records_unknown, figures.records_failed, figures.records_lost) == (4, 2, 0)


def test_reads_are_counted_and_only_those_with_records_are_timed(tmp_path: Path) -> None:
    """A poll at the end waits for what nobody has written."""
    story = Story()
    story.produce(vs(0, 1, 2), at=0)
    story.read(0, (0, vs(0, 1)))
    story.read(2, (2, vs(2)))
    story.read(3)
    story.tail(3)
    figures = report_of(run_of(story, tmp_path, *replicas(vs(0, 1, 2)))).figures
    assert (figures.reads, figures.records_read, figures.reads_failed) == (3, 3, 0)
    assert figures.read == Latency(count=2, p50_ms=1.0, p99_ms=1.0, max_ms=1.0)
    assert figures.produce == Latency(count=1, p50_ms=1.0, p99_ms=1.0, max_ms=1.0)


def test_rates_and_latencies_are_in_the_buckets_in_which_operations_ended(tmp_path: Path) -> None:
    """Half a second each: records per second, and None where nothing ended."""
    story = Story()
    story.produce(vs(0, 1, 2), at=0)
    slow = story.invoke(Produce(TOPIC, 0, vs(3)))
    story.wait(1.2)
    story.ok(slow, Produced(3))
    story.produce([v(4)])
    story.read(0, (0, vs(0, 1, 2, 3)))
    series = report_of(run_of(story, tmp_path, *replicas(vs(0, 1, 2, 3)))).series
    assert series.bucket_s == 0.5
    assert series.produced_per_s == [6.0, 0.0, 2.0]
    assert series.not_acknowledged_per_s == [0.0, 0.0, 2.0]
    assert series.read_per_s == [0.0, 0.0, 8.0]
    assert series.produce_p50_ms == [1.0, None, 1201.0]
    assert series.read_p99_ms == [None, None, 1.0]


def test_gaps_and_outages_are_told_with_the_faults_that_they_fall_into(tmp_path: Path) -> None:
    """Two partitions: one is never without writes for a second, the other for two and a half."""
    story = Story()
    story.produce([v(0)], at=0)
    story.produce([v(1)], at=0, partition=1)
    story.fault_began(1, "cut on leader")
    for number in range(2, 7):
        story.wait(0.5)
        story.produce([v(number)], at=number - 1)
    story.fault_ended(1)
    story.produce([v(7)], at=1, partition=1)
    final = replicas([v(0), *vs(2, 3, 4, 5, 6)]) + replicas([v(1), v(7)], partition=1)
    report = report_of(run_of(story, tmp_path, *final))
    gap = Gap(topic=TOPIC, partition=1, from_s=0.006, to_s=2.52, seconds=2.514)
    assert report.figures.longest_gap == gap
    assert report.faults == [
        Fault(number=1, kind="cut", aim="leader", nodes=["n1"], from_s=0.007, to_s=2.518, longest_gap=gap)
    ]
    assert report.outages == [Outage(topic=TOPIC, partition=1, from_s=0.006, to_s=2.52)]


def test_when_no_partition_stores_anything_that_is_an_outage_of_all(tmp_path: Path) -> None:
    """It lasts to the last attempt when nothing follows."""
    story = Story()
    story.produce([v(0)], at=0)
    story.wait(1.5)
    story.produce([v(1)])
    report = report_of(run_of(story, tmp_path, *replicas([v(0)])))
    here = Outage(topic=TOPIC, partition=0, from_s=0.004, to_s=1.506)
    assert report.outages == [Outage(topic="", partition=None, from_s=0.004, to_s=1.506), here]


def test_a_pause_is_shown_as_one_and_not_as_an_outage(tmp_path: Path) -> None:
    """In one partition, in all; an outage that goes on after it begins anew."""
    story = Story()
    story.produce([v(0)], at=0)
    story.produce([v(1)], at=0, partition=1)
    story.pause_began()
    story.wait(2)
    story.pause_began(partition=1)
    story.wait(3)
    story.pause_ended()
    story.pause_ended(partition=1)
    story.produce([v(2)])
    story.wait(1.5)
    story.produce([v(3)], at=1)
    story.produce([v(4)], at=1, partition=1)
    report = report_of(run_of(story, tmp_path, *replicas([v(0), v(3)]), *replicas([v(1), v(4)], partition=1)))
    assert report.pauses == [
        Pause(topic=TOPIC, partition=0, from_s=0.007, to_s=5.009),
        Pause(topic=TOPIC, partition=1, from_s=2.008, to_s=5.01),
    ]
    assert report.outages == [
        Outage(topic="", partition=None, from_s=5.009, to_s=6.514),
        Outage(topic=TOPIC, partition=0, from_s=5.009, to_s=6.514),
        Outage(topic=TOPIC, partition=1, from_s=5.01, to_s=6.516),
    ]
    assert report.figures.longest_gap is not None
    assert report.figures.longest_gap.seconds == 3.508, "two seconds before its pause, and what follows it"


def test_bands_end_where_a_later_term_begins(tmp_path: Path) -> None:
    """A deposed leader that still believes in its term, or a second one of a term, changes nothing."""
    story = Story()
    story.leads("n1", 1)
    story.leads("n2", 1, group="metadata")
    story.wait(1)
    story.leads("n3", 4)
    story.leads("n2", 4)
    story.leads("n1", 1)
    story.wait(1)
    story.tail(0)
    report = report_of(run_of(story, tmp_path))
    assert report.leaders == [
        Leaders(group="metadata", bands=[Band(node="n2", term=1, from_s=0.004, to_s=2.009)]),
        Leaders(
            group="orders/0",
            bands=[
                Band(node="n1", term=1, from_s=0.003, to_s=1.005),
                Band(node="n3", term=4, from_s=1.005, to_s=2.009),
            ],
        ),
    ]


def test_partitions_are_in_the_order_of_their_numbers() -> None:
    """Ten comes behind nine."""
    story = Story()
    for partition in (10, 9):
        story.leads("n1", 1, group=f"orders/{partition}")
    bands = BandMaker(Timescale(0, story.now, 0))
    for event in story.events:
        bands.see(event, None)
    assert [each.group for each in bands.finish()] == ["orders/9", "orders/10"]


def test_recoveries_are_told_and_a_fault_without_an_end_lasts_to_the_end(tmp_path: Path) -> None:
    """From healing to the first commit of what began after it."""
    story = Story()
    story.produce([v(0)], at=0)
    story.fault_began(1, "pause")
    story.healed()
    story.wait(0.25)
    story.produce([v(1)], at=1)
    report = report_of(run_of(story, tmp_path, *replicas(vs(0, 1))))
    assert report.figures.recoveries == [
        Recovery(topic=TOPIC, partition=0, healed_s=0.006, seconds=0.252),
    ]
    assert (report.faults[0].to_s, report.faults[0].aim) == (report.duration_s, "")


def test_what_is_lost_makes_the_verdict_and_its_figure(tmp_path: Path) -> None:
    """Two of three acknowledged records are gone."""
    story = Story()
    story.produce(vs(0, 1, 2), at=0)
    report = report_of(run_of(story, tmp_path, *(replica(node, vs(0)) for node in ("n1", "n2", "n3"))))
    assert report.verdict == "violated"
    assert (report.figures.records_lost, report.figures.records_acknowledged) == (2, 3)
    assert report.violation_counts["lost_tail"] == 2
    shown = report.violations[0]
    assert (shown.kind, shown.topic, shown.partition) == ("lost_tail", TOPIC, 0)
    assert (shown.evidence[0].record, shown.evidence[0].offset, shown.evidence[0].at_s) == ("1.1", 1, 0.004)


def test_a_node_that_died_or_did_not_come_back_is_no_clean_verdict(tmp_path: Path) -> None:
    """Though the checker found nothing."""
    story = Story()
    story.produce([v(0)], at=0)
    result = replace(run_of(story, tmp_path, *replicas([v(0)])), deaths={"n2": -6})
    assert result.check.is_clean
    report = report_of(result)
    assert (report.verdict, report.deaths, report.violation_counts) == ("violated", {"n2": -6}, {})


def test_the_report_says_when_and_on_what_it_ran_and_how_to_do_it_again(tmp_path: Path) -> None:
    """The date is the wall clock's at the beginning; the scenario is told as it was run."""
    story = Story()
    story.tail(0)
    result = run_of(story, tmp_path, notes=["kill on leader found nobody"])
    report = report_of(result)
    assert report.began == "2026-01-02T03:04:05+00:00"
    assert report.machine.cores > 0
    assert report.notes == ["kill on leader found nobody"]
    assert report.repeat.scenario_toml == (tmp_path / "scenario.toml").read_text()


def test_quantiles_are_never_too_low_and_at_most_a_thirty_second_too_high() -> None:
    """Compared with the true ones, over five orders of magnitude."""
    latencies = Latencies()
    sizes = [int(1.01**exponent) for exponent in range(1_200)]
    for us in sizes:
        latencies.add(us)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        true = sizes[round(share * len(sizes)) - 1] / 1e3
        assert true <= (latencies.quantile_ms(share) or 0) <= true * (1 + 1 / 32)
    assert latencies.max_ms == sizes[-1] / 1e3
    assert Latencies().quantile_ms(0.5) is None


@pytest.mark.parametrize("duration_s", [0.0, 1.0, 199.9, 200.1, 86_400.0, 3e7])
def test_there_are_never_more_buckets_than_can_be_drawn(duration_s: float) -> None:
    """Wide enough, and not wider than needed."""
    width_s = bucket_ms(duration_s) / 1e3
    assert duration_s / width_s <= BUCKETS_MAX
    assert width_s == 0.5 or duration_s / (width_s / 2) > BUCKETS_MAX
