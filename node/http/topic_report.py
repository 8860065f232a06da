"""The answer to a produce into a topic: where each record is stored, in the order sent, or why it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import FloodmarkError, OutcomeUnknown

from node.http import problems
from node.http.context import HttpContext
from node.service.data_requests import Outcome

HEAD: Final = {"Content-Type": "application/json", "Server": "floodmark"}
ROWS_AT_ONCE: Final = 10_000
"""After this many rows other work on the event loop gets its turn."""
_ENCODER = msgspec.json.Encoder()


async def answer(
    context: HttpContext,
    places: Sequence[int],
    outcomes: Mapping[int, Outcome],
    headers: Mapping[str, str] = HEAD,
) -> web.Response:
    """200, or 207 when some are stored and some are not. Raises an error when none is known to be."""
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, FloodmarkError)]
    if len(failed) == 1 and len(outcomes) == 1:
        raise failed[0]
    rows = await _rows(places, outcomes, context.next_request_id() if failed else "")
    if len(failed) < len(outcomes):
        return web.Response(status=207 if failed else 200, body=b'{"records":%b}\n' % rows, headers=headers)
    # None is known to be stored. If one may be, report that: never call it "not stored".
    unknown = [error for error in failed if isinstance(error, OutcomeUnknown)]
    first = (unknown or failed)[0]
    raise type(first)(first.detail, **{**first.fields, "records": msgspec.Raw(rows)})


async def _rows(places: Sequence[int], outcomes: Mapping[int, Outcome], request_id: str) -> bytes:
    """A JSON array. On the hot path: no dictionaries, no encoder."""
    nexts: dict[int, int] = {}
    reports: dict[int, bytes] = {}
    for number, outcome in outcomes.items():
        if isinstance(outcome, FloodmarkError):
            report = {"partition": number, "error": problems.document(outcome, request_id)}
            reports[number] = _ENCODER.encode(report)
        else:
            nexts[number] = outcome.first_offset
    if len(places) <= ROWS_AT_ONCE:
        return b"[%b]" % b",".join(_made(places, nexts, reports))
    pieces = []
    for begin in range(0, len(places), ROWS_AT_ONCE):
        pieces.append(b",".join(_made(places[begin : begin + ROWS_AT_ONCE], nexts, reports)))
        await asyncio.sleep(0)
    return b"[%b]" % b",".join(pieces)


def _made(places: Sequence[int], nexts: dict[int, int], reports: dict[int, bytes]) -> Iterator[bytes]:
    for number in places:
        offset = nexts.get(number)
        if offset is None:
            yield reports[number]
        else:
            yield b'{"partition":%d,"offset":%d}' % (number, offset)
            if offset >= 0:  # else it is not known, with acks=none
                nexts[number] = offset + 1
