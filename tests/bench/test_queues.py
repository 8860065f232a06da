"""The benchmark of queues: its table, and what it asks of each system; no server is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import document
from bench.paths import DOCUMENT
from bench.peers import systems
from bench.peers.worker_process import WorkerProcess
from bench.processes import Failed
from bench.queues import table
from bench.queues.__main__ import VARIANTS
from bench.queues.figures import Figure
from bench.queues.work import BATCHES, FULL, ORDERS, QUICK, WAYS, QueueJob, QueueOutcome
from tests.bench.here import Here

LABELS = {"floodmark": "Floodmark", "nats-always": "NATS", "redis-always": "Redis"}


def _figure(
    variant: str, value: float, *, way: str = "apart", by_key: bool = False, number: int = 0
) -> Figure:
    return Figure(variant, "100x16", way, by_key, number, value)


def test_the_table_compares_medians_of_the_best_ways_and_says_who_has_no_order() -> None:
    """Ordered rows are compared with what others do without order."""
    figures = [
        *(_figure("floodmark", value, way="together", number=n) for n, value in enumerate((900, 1000, 1100))),
        *(_figure("floodmark", value, number=n) for n, value in enumerate((10, 5000, 20))),
        _figure("floodmark", 600, way="together", by_key=True),
        _figure("nats-always", 500),
        _figure("redis-always", 400),
        _figure("redis-always", 100, way="together"),
    ]
    lines = table.markdown(figures, LABELS, 0).splitlines()
    plain = next(line for line in lines if line.startswith("| batches of 100, 16 workers |"))
    assert plain.endswith("| 1,000 [900 to 1,100] | 500 [500 to 500] | 400 [400 to 400] | 2.00x |")
    ordered = next(line for line in lines if line.startswith("| batches of 100, 16 workers, in order"))
    assert ordered.endswith(f"| 600 [600 to 600] | {table.NO_ORDER} | {table.NO_ORDER} | 1.20x |")
    missing = next(line for line in lines if line.startswith("| one at a time, 1 worker |"))
    assert missing.endswith("|  |  |  |  |"), "what was not measured is left empty"


def test_delayed_records_have_a_table_of_their_own() -> None:
    """With the steps that were measured."""
    steps = [Figure("floodmark", step, "", by_key=False, round=0, value=7.0) for step in ("write", "late")]
    lines = table.markdown(steps, LABELS, 20_000).splitlines()
    assert "| 20,000 delayed records | Floodmark |" in lines
    assert sum(line.endswith("| 7 |") for line in lines) == 2


def test_every_system_has_ways_and_only_ours_has_order() -> None:
    """The systems are those of the comparison, with their fsync on."""
    chosen = {variant.name: variant for variant in systems.select(VARIANTS)}
    assert set(chosen) == set(VARIANTS)
    assert {chosen[name].system for name in VARIANTS} == set(WAYS) == set(ORDERS)
    assert {system for system, orders in ORDERS.items() if True in orders} == {"floodmark"}
    assert chosen["nats-always"].options == {"sync": "always"}
    assert chosen["redis-always"].options == {"fsync": "always"}
    assert set(FULL.fill) == set(QUICK.fill) == set(BATCHES)


def test_a_job_and_its_answer_survive_the_way_to_the_worker_and_back() -> None:
    """As JSON."""
    job = QueueJob("nats", "work", "q1", ["nats://h:1"], by_key=True, options={"sync": "always"})
    assert QueueJob(**json.loads(json.dumps(job.as_dict()))) == job
    assert QueueOutcome(**json.loads('{"records": 5, "seconds": 1.5}')) == QueueOutcome(5, 1.5)


def test_what_a_worker_complains_about_is_told(tmp_path: Path) -> None:
    """With what was to be done; here there are no such clients."""
    job = QueueJob("nothing", "fill", "q1", [])
    with (
        WorkerProcess(Here(tmp_path), job) as process,
        pytest.raises(Failed, match=r"^fill with nothing failed: .*No module named 'bench.queues.clients.no"),
    ):
        process.answer()


def test_the_document_has_a_place_for_it() -> None:
    """``--document`` writes between marks."""
    assert "\nwritten\n" in document.replace_part(DOCUMENT.read_text(), "queues", "written")
