"""The growth benchmark: one axis end to end, its load, and what it makes of figures."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from bench import document as document_parts
from bench.growth import __main__ as command
from bench.growth import derived, document, scaling, table
from bench.growth.axes import RUNS
from bench.growth.figures import load, save
from bench.growth.fits import line
from bench.growth.load import RECORD_MEDIA, PageReader, Target, connected, posts
from bench.growth.panels import COLUMNS, panels
from bench.growth.rounds import Rounds
from bench.growth.scale import QUICK
from bench.growth.titles import TITLES, place, title_of
from bench.paths import DOCUMENT
from bench.processes import Failed
from bench.statistics import spread
from tests.bench.growth_figures import figure, gauges, results, whole


async def test_an_axis_measures_running_nodes_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two places on the axis of connections: records are acknowledged, processor and disk at work."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told: list[str] = []
    rounds = Rounds(dataclasses.replace(QUICK, connections=(1, 8), seconds=0.3), told.append)
    await rounds.run(["connections"])
    assert not rounds.notes
    assert [(each.series, each.x) for each in rounds.figures] == [("many", 1), ("many", 8)]
    for each in rounds.figures:
        assert each.records == each.operations > 0
        assert each.payload_bytes == 1024 * each.records
        assert each.node_cpu_s >= each.busiest_cpu_s
        assert each.flushes > 0
        assert each.records_per_frame >= 1
        assert each.link_bytes > 2 * 1000 * each.records
        assert each.p99_ms >= each.p50_ms > 0
    assert rounds.figures[0].records_per_frame == 1.0
    assert _is_empty(tmp_path)


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_an_axis_that_fails_is_noted_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was is told, and nothing that was measured is lost."""

    async def fails(*_: object) -> None:
        raise Failed("no room for it")

    async def goes_on(_scale: object, _number: int, take: Callable[[object], None]) -> None:
        take(figure("nodes", "many", 3))

    monkeypatch.setitem(RUNS, "partitions", fails)
    monkeypatch.setitem(RUNS, "nodes", goes_on)
    rounds = Rounds(dataclasses.replace(QUICK, rounds=1), lambda _: None)
    await rounds.run(["partitions", "nodes"])
    assert rounds.notes == ["round 1 of partitions: no room for it"]
    assert len(rounds.figures) == 1


async def test_time_that_is_over_is_noted_and_cuts_off_the_axis() -> None:
    """Nothing is measured in no time, and that is said."""
    rounds = Rounds(dataclasses.replace(QUICK, minutes_max=0.0001), lambda _: None)
    await rounds.run(["replication", "nodes"])
    assert rounds.notes == [
        "round 1 of replication: the time was over",
        "the time was over before round 1 of nodes",
    ]


async def _serve(handler: web.Application) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(handler)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


async def test_load_spreads_over_partitions_and_counts_answers() -> None:
    """Two connections to one node begin at different partitions, and every answer is one operation."""
    asked: list[str] = []

    async def stored(request: web.Request) -> web.Response:
        asked.append(request.path)
        assert await request.read() == b"x" * 40_000
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/{rest:.*}", stored)
    runner, port = await _serve(app)
    targets = [Target(port, "t", partition) for partition in range(4)]
    async with connected(posts(targets, b"x" * 40_000, RECORD_MEDIA, 2)) as under_test:
        answers = await under_test.run(0.2)
    await runner.cleanup()
    assert answers.operations == len(asked) > 8
    assert {path.split("/")[5] for path in asked[:2]} == {"0", "2"}
    assert {path.split("/")[5] for path in asked} == {"0", "1", "2", "3"}


@pytest.mark.parametrize(
    ("status", "complaint"), [(400, "400.*not so"), (503, r"requests were refused and \d+ answered")]
)
async def test_load_fails_when_it_is_refused(status: int, complaint: str) -> None:
    """A figure made of refusals would be a good one."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="not so")

    app = web.Application()
    app.router.add_post("/{rest:.*}", refuse)
    runner, port = await _serve(app)
    async with connected(posts([Target(port, "t", 0)], b"x", RECORD_MEDIA, 3)) as under_test:
        with pytest.raises(Failed, match=complaint):
            await under_test.run(0.1)
    await runner.cleanup()


async def test_a_request_that_meets_no_leader_is_sent_again_and_counts_once() -> None:
    """The first of many is refused: it is answered in the end, after a pause, and the refusal is told."""
    asked = 0

    async def refuse_once(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=503 if asked == 1 else 200, text="so")

    app = web.Application()
    app.router.add_post("/{rest:.*}", refuse_once)
    runner, port = await _serve(app)
    async with connected(posts([Target(port, "t", 0)], b"x", RECORD_MEDIA, 1)) as under_test:
        answers = await under_test.run(0.3)
    await runner.cleanup()
    assert (answers.refused, answers.operations) == (1, asked - 1)
    assert answers.body_bytes == 2 * answers.operations
    assert answers.latencies_s[0] > 0.019


async def test_pages_are_read_to_the_end_and_again_when_asked() -> None:
    """Ten records in pages of four: three pages, or more with a fresh start."""

    async def page(request: web.Request) -> web.Response:
        start = int(request.query["from"])
        headers = {
            "Log-From-Offset": str(start),
            "Log-Next-Offset": str(min(10, start + 4)),
            "Log-High-Watermark": "10",
        }
        return web.Response(body=b"page", headers=headers)

    app = web.Application()
    app.router.add_get("/{rest:.*}", page)
    runner, port = await _serve(app)
    once, again = (PageReader(Target(port, "t", 0), start=0, again=each) for each in (False, True))
    async with connected(once.asking) as under_test:
        answers = await under_test.run(30)
    assert (answers.operations, answers.body_bytes, once.records) == (3, 12, 10)
    async with connected(again.asking) as under_test:
        answers = await under_test.run(0.2)
    assert again.records > 20
    await runner.cleanup()


def test_a_line_has_a_part_that_stays_and_a_part_that_grows() -> None:
    """100 and 2 for each: both are equal at 50; far values weigh no more than near ones."""
    found = line({x: spread([100 + 2 * x]) for x in (1.0, 50.0, 1000.0)})
    assert found is not None
    assert found.fixed == pytest.approx(100)
    assert found.slope == pytest.approx(2)
    assert found.knee == pytest.approx(50)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert line({1.0: spread([1.0])}) is None


def test_tables_have_medians_bounds_and_what_explains_them() -> None:
    """Three rounds at 1 KiB, one at 1 MiB; the sentence gives the parts of the cost."""
    rounds = [
        figure("record-size", "one", 1024, round=number, operations=operations, node_cpu_s=operations * 1e-4)
        for number, operations in enumerate((900, 1000, 1200))
    ]
    found = results([*rounds, figure("record-size", "one", 1 << 20, node_cpu_s=1.123)], [])
    text = table.markdown(found)
    assert "| 1 connection, one record a request | 1 KiB | 1,000 (900 to 1,200) |" in text
    assert "| 1 connection, one record a request | 1 MiB | 1,000 |" in text
    assert "- Note: a note" in text
    assert derived.sentences(found, "record-size") == [
        (
            "1 connection, one record a request: nodes' CPU for a request is 99 µs and 1.00 µs more for each "
            "KiB (within 0 %); equal parts at 99 KiB."
        )
    ]


def test_partitions_that_are_only_looked_at_have_a_table_of_their_own() -> None:
    """What is read off without load: memory and open files, and what each replica adds."""
    found = results(
        [],
        [
            *gauges("partitions", "rss_fresh_mb", at_1=60.1, at_1000=160.0),
            *gauges("partitions", "descriptors", at_1=23, at_1000=3020),
        ],
    )
    text = table.of_axis(found, "partitions")
    assert "| 1,000 | 160 | 3,020 |" in text
    assert "60 MB and 100 KB more for a replica; open files: 20 and 3.0 for a replica" in text


def test_arithmetic_past_one_machine_follows_from_what_was_measured() -> None:
    """100 nodes: 99 links of 0.2 %, two walks a second over 33,333 partitions of 0.1 µs, 1,000 replicas."""
    found = whole()
    inputs = scaling.inputs(found)
    assert inputs is not None
    assert (inputs.leader_us, inputs.follower_us) == pytest.approx((100, 50))
    assert (inputs.node_percent, inputs.link_percent) == pytest.approx((0.1, 0.2))
    text = scaling.markdown(found)
    assert "| beats sent and taken in by a node a second: 2 x 10 x (nodes - 1) | 40 | 180 | 1,980 |" in text
    assert "| ... % of its core | 0.4 | 1.8 | 19.8 |" in text
    assert "| 1,000 idle replicas, % of its core | 1.0 | 1.0 | 1.0 |" in text
    assert "| left for requests, % of its core | 98 | 97 | 78 |" in text
    assert "| memory of a node with 1,000 replicas, MB | 160 | 160 | 160 |" in text


def test_arithmetic_needs_all_axes_that_it_is_made_of() -> None:
    """Without the metadata axis nothing is claimed."""
    found = whole()
    less = dataclasses.replace(found, gauges=[each for each in found.gauges if each.axis != "metadata"])
    assert scaling.inputs(less) is None
    assert scaling.markdown(less) == "Not all that is needed was measured."


def test_panels_fill_rows_and_name_each_load_once() -> None:
    """Every axis fills whole rows; the load's name stands beside the throughput only; p99 is dashed."""
    found = panels(whole())
    assert len(found) % COLUMNS == 0
    throughput, latency = found[0], found[1]
    assert throughput.head == "records/s"
    assert [each.label for each in throughput.lines] == list(
        dict.fromkeys(title_of("partitions").series[name] for name in ("many", "batches"))
    )
    assert throughput.places == [1, 1000]
    assert [(each.label, each.is_dashed) for each in latency.lines] == [("", False), ("", True)] * 2
    assert latency.lines[1].points[1.0].median == 2.0


def test_results_survive_their_file(tmp_path: Path) -> None:
    """What is loaded is what was saved."""
    save(whole(), tmp_path / "growth.json")
    assert load(tmp_path / "growth.json") == whole()


def test_places_are_told_in_the_units_of_their_axis() -> None:
    """Sizes in KiB and MiB, all else as numbers."""
    assert [place(title_of("record-size"), x) for x in (16, 1024, 1 << 20)] == ["16 B", "1 KiB", "1 MiB"]
    assert [place(title_of("log-size"), x) for x in (0, 0.5, 20)] == ["0", "0.5", "20"]
    assert place(title_of("partitions"), 1000) == "1,000"


def test_document_has_marks_for_every_axis() -> None:
    """docs/PERFORMANCE.md takes the head, each axis and the arithmetic; nothing of a run is lost."""
    text = DOCUMENT.read_text()
    for name in ("growth", *(f"growth-{title.name}" for title in TITLES), "growth-scaling"):
        assert "only this" in document_parts.replace_part(text, name, "only this")
    assert [name for name, _ in document.parts(whole())] == [
        "growth",
        "growth-partitions",
        "growth-nodes",
        "growth-metadata",
        "growth-scaling",
    ]


def test_an_unknown_axis_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    monkeypatch.setattr(sys, "argv", ["growth", "--only", "partitions,weather"])
    assert command.main() == 2
    assert "there is no axis weather; there are partitions, record-size" in capsys.readouterr().err
