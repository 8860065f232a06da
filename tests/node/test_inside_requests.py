"""Requests between nodes as bytes, and who answers them."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.errors import (
    ERRORS_BY_CODE,
    FloodmarkError,
    LeaderNotAvailable,
    NotLeaderOrFollower,
    OffsetPastEnd,
    ServerError,
    TooNew,
    Unavailable,
)

from node.service import inside_requests
from node.service.answer_budget import AnswerBudget
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_requests import InsideRequest, register


class Echoed(msgspec.Struct, frozen=True):
    words: list[str]
    body: bytes = b""


class Echo(InsideRequest[Echoed], frozen=True):
    words: list[str]
    body: bytes = b""


class Unheard(InsideRequest[None], frozen=True):
    pass


register("test_echo", Echo, Echoed, raw="body", raw_result="body")
register("test_unheard", Unheard, None)


async def _echo(request: Echo, asked: Asked) -> Echoed:
    asked.hold.more(len(request.body))
    return Echoed([asked.node, *request.words], request.body)


def _asked() -> Asked:
    return Asked("n2", 1.0, AnswerBudget(1 << 20).hold("n2"))


async def test_a_request_and_its_result_come_out_as_they_went_in() -> None:
    """The large field travels beside the envelope, untouched."""
    answers = InsideAnswers()
    answers.on(Echo, _echo)
    envelope, raw = inside_requests.encode_request(Echo(["a"], b"large"))
    assert raw == b"large"
    assert b"large" not in envelope
    request = inside_requests.decode_request(envelope, raw)
    result = await answers.answer(request, _asked())
    kind = inside_requests.type_of(request)
    assert inside_requests.decode_result(kind, *inside_requests.encode_result(kind, result)) == Echoed(
        ["n2", "a"], b"large"
    )


def test_fields_of_a_newer_build_are_left_out_and_missing_ones_have_their_defaults() -> None:
    """So a request may grow."""
    envelope = msgspec.msgpack.encode(("test_echo", {"words": ["a"], "newer": 1}))
    assert inside_requests.decode_request(envelope, b"") == Echo(["a"])


async def test_what_this_build_does_not_know_or_answer_is_said_so() -> None:
    """By name, so that whoever reads it knows what to start."""
    with pytest.raises(TooNew, match="requests of type test_later"):
        inside_requests.decode_request(msgspec.msgpack.encode(("test_later", {})), b"")
    with pytest.raises(TooNew, match="test_unheard"):
        await InsideAnswers().answer(Unheard(), _asked())
    for garbage in (b"", b"\xc1", msgspec.msgpack.encode(["test_echo", {"words": 1}])):
        with pytest.raises(ServerError):
            inside_requests.decode_request(garbage, b"")


@pytest.mark.parametrize(
    "error",
    [
        OffsetPastEnd("there is nothing yet", log_start_offset=1, high_watermark=9),
        NotLeaderOrFollower("not here", leader="n3", retry_after_s=0.1),
        LeaderNotAvailable("nobody", leader=None),
        Unavailable("some other reason"),
        TooNew("a word", unlike="x"),
    ],
)
def test_an_error_becomes_the_same_one(error: FloodmarkError) -> None:
    """Class, detail and fields."""
    there = inside_requests.decode_error(inside_requests.encode_error(error))
    assert (type(there), there.detail, there.fields) == (type(error), error.detail, error.fields)


def test_every_code_has_its_class_and_an_unknown_one_is_a_server_error() -> None:
    """Whatever a handler raises can be told."""
    for code, cls in ERRORS_BY_CODE.items():
        there = inside_requests.decode_error(inside_requests.encode_error(cls("why")))
        assert (type(there), there.code) == (cls, code)
    unknown = msgspec.msgpack.encode(["error_of_later", "", "why", {}])
    assert type(inside_requests.decode_error(unknown)) is ServerError
    assert type(inside_requests.decode_error(b"\xc1")) is ServerError
