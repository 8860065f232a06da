"""What is kept of who did what: nothing waits for it, a flood stays small, and what is lost is told of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog
from floodmark.errors import (
    FloodmarkError,
    InvalidBatch,
    LeaderNotAvailable,
    OutcomeUnknown,
    OutOfOrderSequence,
    UnknownTopic,
)

from node.metadata.levels import SECURITY
from node.security import audit as module
from node.security import audit_topic
from node.security.audit import REFUSALS_EACH, WINDOW_S, AuditLog
from node.security.audit_topic import TOPIC, AuditTopic
from node.service import auditing
from node.service.auditing import AuditEvent
from node.service.data_requests import ProduceRequest
from node.service.policy import Operation, topic
from node.service.request_context import A_NODE, RequestContext
from node.service.topic_changes import AlterTopic, ConfigChanges
from node.service.users import SetPassword


class Clock:
    """The time, as a test sets it."""

    s = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> AuditLog:
    return AuditLog(wall_ms=lambda: 7, now_s=lambda: clock.s)


def _refusal(principal: str = "ann", address: str = "10.0.0.1") -> AuditEvent:
    return AuditEvent(principal=principal, address=address, action="read", allowed=False, outcome="forbidden")


def _queued(log: AuditLog) -> list[AuditEvent]:
    return [kept.event for kept in log.queue]


def test_many_refusals_alike_are_counted_and_told_of_once_the_window_is_over(
    log: AuditLog, clock: Clock
) -> None:
    """Those of others, and what is allowed, are told of meanwhile."""
    for _ in range(500):
        log.tell(_refusal())
    assert len(log.queue) == REFUSALS_EACH
    log.tell(_refusal("bob"))
    log.tell(_refusal(address="10.0.0.2"))
    done = AuditEvent(principal="ann", address="10.0.0.1", action="x", allowed=True, outcome="done")
    for _ in range(50):
        log.tell(done)
    assert len(log.queue) == REFUSALS_EACH + 2 + 50
    log.close_window()
    assert len(log.queue) == REFUSALS_EACH + 2 + 50, "the window is not over"
    clock.s += WINDOW_S
    log.close_window()
    assert _queued(log)[-1].repeated == 500 - REFUSALS_EACH
    assert sum(event.repeated for event in _queued(log) if event == _refusal() or event.repeated > 1) == 500
    assert log.counted == 500 - REFUSALS_EACH
    log.tell(_refusal())
    assert _queued(log)[-1] == _refusal(), "in the next window it is told of again"


def test_a_flood_from_everywhere_fills_neither_memory_nor_the_topic(log: AuditLog, clock: Clock) -> None:
    """Beyond so many sources the others are counted together."""
    for number in range(3 * module.SOURCES_MAX):
        log.tell(_refusal(address=f"fd00::{number:x}"))
    assert len(log.queue) == module.SOURCES_MAX + REFUSALS_EACH
    clock.s += WINDOW_S
    log.close_window()
    last = _queued(log)[-1]
    assert (last.principal, last.address) == ("(several)", "")
    assert last.repeated == 2 * module.SOURCES_MAX - REFUSALS_EACH


def test_a_full_queue_drops_counts_and_says_so(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in the log, not for each."""
    monkeypatch.setattr(module, "QUEUE_MAX", 3)
    done = AuditEvent(principal="ann", action="x", allowed=True, outcome="done")
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            log.tell(done)
    assert len(log.queue) == 3
    assert log.dropped == 2
    assert [entry["log_level"] for entry in logged].count("error") == 1
    assert sum(entry["event"] == "audit" for entry in logged) == 5, "the log has all of it"
    (family,) = log.collect()
    assert {sample.labels["fate"]: sample.value for sample in family.samples} == {
        "stored": 0,
        "dropped": 2,
        "counted": 0,
    }


def test_log_and_topic_can_be_left_out() -> None:
    """Each for itself."""
    done = AuditEvent(principal="ann", action="x", allowed=True, outcome="done")
    for log, is_topic in ((False, True), (True, False)):
        kept = AuditLog(wall_ms=lambda: 7, now_s=lambda: 1.0, log=log, topic=is_topic)
        with structlog.testing.capture_logs() as logged:
            kept.tell(done)
        assert bool(logged) is log
        assert bool(kept.queue) is is_topic


def test_only_fields_that_are_known_to_be_none_hold_no_secret() -> None:
    """And what is too long to be told of is left out."""
    context = RequestContext(protocol="http", principal="ann", trace="x" * 500)
    password = SetPassword(user="ann", verifiers=())
    told = auditing.change(context, "set_password", password, None)
    assert told.details == {"user": "ann"}
    assert len(told.trace) == 55
    alter = AlterTopic(topic="t", config=ConfigChanges(retention_ms=5))
    assert auditing.change(context, "alter_topic", alter, None).details == {"config": {"retention_ms": 5}}
    long = SetPassword(user="a" * 5000, verifiers=())
    assert "a" * 100 not in str(auditing.change(context, "set_password", long, None))
    refused = auditing.denial(context, Operation.READ, topic("t" * 9000), UnknownTopic("no"))
    assert len(refused.resource) < 300
    assert not auditing.is_change(context, alter), "what was refused is not told of twice"
    node = RequestContext(protocol="http", principal=A_NODE)
    assert not auditing.is_change(node, alter), "the node that was asked first tells of it"


class _Service:
    """Takes what is produced, or refuses it, as ``answers`` say."""

    def __init__(self) -> None:
        self.broker = self
        self.node_id = "n1"
        self.feature_level = SECURITY
        self.answers: list[FloodmarkError | Callable[[], None]] = []
        self.sent: list[ProduceRequest] = []
        self.stored: dict[tuple[bytes, int], list[bytes | None]] = {}

    async def produce(self, context: RequestContext, request: ProduceRequest) -> None:
        assert context.principal == A_NODE
        assert (request.topic, request.partition) == (TOPIC, 0)
        self.sent.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if answer is None or isinstance(answer, OutcomeUnknown):
            producer, _, sequence = request.producer
            values = [record.value for record in request.body._records]  # type: ignore[attr-defined]
            assert self.stored.setdefault((producer, sequence), values) == values, (
                "another batch, same number"
            )
        if isinstance(answer, FloodmarkError):
            raise answer


@pytest.fixture
def service() -> _Service:
    return _Service()


@pytest.fixture
def writer(log: AuditLog, service: _Service, monkeypatch: pytest.MonkeyPatch) -> AuditTopic:
    monkeypatch.setattr(audit_topic, "PAUSE_S", 0.001)
    return AuditTopic(log, service, ConfigChanges())  # type: ignore[arg-type]


async def test_a_batch_keeps_its_number_until_its_fate_is_known(
    log: AuditLog, service: _Service, writer: AuditTopic
) -> None:
    """So nothing is stored twice and nothing is lost, whatever leaders answer."""
    service.answers = [LeaderNotAvailable("none"), OutcomeUnknown("who knows"), LeaderNotAvailable("none")]
    for number in range(450):
        log.tell(AuditEvent(principal=f"u{number}", action="x", allowed=True, outcome="done"))
    await writer._store_all()
    assert len(service.sent) == 3 + 3
    assert sorted(sequence for _, sequence in service.stored) == [0, 1, 2]
    values = [value for stored in service.stored.values() for value in stored]
    assert len(values) == len(set(values)) == 450
    assert log.stored == 450
    assert log.dropped == 0


async def test_a_topic_that_was_made_anew_gets_another_producer(
    log: AuditLog, service: _Service, writer: AuditTopic
) -> None:
    """It knows nothing of the one before."""
    log.tell(_refusal())
    await writer._store_all()
    service.answers = [OutOfOrderSequence("skipped ahead")]
    log.tell(_refusal("bob"))
    await writer._store_all()
    first, refused, second = (request.producer for request in service.sent)
    assert first[0] == refused[0] != second[0]
    assert (first[2], refused[2], second[2]) == (0, 1, 0)
    assert log.stored == 2


async def test_what_is_refused_for_good_is_dropped_and_counted(
    log: AuditLog, service: _Service, writer: AuditTopic
) -> None:
    """And does not hold up what comes behind it."""
    service.answers = [InvalidBatch("a defect")]
    log.tell(_refusal())
    await writer._store_all()
    log.tell(_refusal("bob"))
    await writer._store_all()
    assert (log.dropped, log.stored) == (1, 1)


async def test_nothing_is_written_below_the_feature_level(
    log: AuditLog, service: _Service, writer: AuditTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older builds would show the topic to everybody. A node that stops gives up, and counts what it had."""
    monkeypatch.setattr(audit_topic, "FINISH_S", 0.05)
    service.feature_level = SECURITY - 1
    log.tell(_refusal())
    await writer.finish()
    assert not service.sent
    assert log.dropped == 1
