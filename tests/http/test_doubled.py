"""What a body gives twice is found however closely it is packed, and what it gives once is taken."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from floodmark.errors import InvalidRequest

from node.http.media import Media
from node.http.records_in import Reading, read_records

HEAD: Any = SimpleNamespace(headers={}, raw_headers=())
READING = Reading(1_700_000_000_000, 1 << 20)
MEMBERS: Mapping[str, list[str]] = {
    "key": ['""', '"k"', '"a:b"', '"\\u003a"', "null"],
    "value": ["1", '"x"', "null", '{"a":1,"a":2}', '{ "value" : ":" }', '"\\\\"'],
    "headers": ['{"a":"b"}', '{"a":":"}', "{ }", "null"],
    "timestamp": ["0", "1700000000000", '"2026-01-31T10:00:00Z"', "null"],
    "partition": ["0", "null"],
    "key_b64": ["null"],
}


def taken(media: Media, body: bytes) -> bool:
    """Whether it is; raises where it is refused for anything else."""
    try:
        read_records(HEAD, media, body, READING)
    except InvalidRequest as error:
        if "twice" in error.detail:
            return False
        raise
    return True


def a_record(source: random.Random, comma: str, colon: str, twice: str | None) -> str:
    """Its members in any order; ``twice`` is given once more, as short as it may be or as any other."""
    names = ["value", *source.sample(sorted(set(MEMBERS) - {"value"}), source.randrange(3))]
    if twice is not None:
        names += [twice] * (2 - (twice in names))
    source.shuffle(names)
    found = [(name, source.choice(MEMBERS[name][: source.choice([1, 9])])) for name in names]
    return "{" + comma.join(f'"{name}"{colon}{text}' for name, text in found) + "}"


@pytest.mark.parametrize("media", [Media.JSON, Media.NDJSON])
@pytest.mark.parametrize(("comma", "colon"), [(",", ":"), (", ", ": "), (" ,\t", " : ")])
def test_json_is_taken_when_nothing_is_there_twice(media: Media, comma: str, colon: str) -> None:
    """One record and many, from a printed seed."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    source = random.Random(seed)
    for _ in range(300):
        count = source.choice([1, 1, 2, 30])
        bad = source.choice([None, source.randrange(count)])
        twice = source.choice(sorted(MEMBERS))
        rows = [a_record(source, comma, colon, twice if row == bad else None) for row in range(count)]
        if media is Media.NDJSON:
            body = "\n".join(rows)
        elif count == 1 and source.random() < 0.5:
            body = rows[0]
        else:
            body = f'{{"records"{colon}[{comma.join(rows)}]}}'
        assert taken(media, body.encode()) is (bad is None), body


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_the_shortest_second_member_is_found(name: str) -> None:
    """Behind as many records as it likes: what they take is known to the byte."""
    for text in MEMBERS[name]:
        once = '"value":1' if name == "value" else f'"value":1,"{name}":{text}'
        rows = [f"{{{once}}}"] * 50
        body = f'{{"records":[{",".join(rows)}]}}'
        assert taken(Media.JSON, body.encode())
        rows[25] = f'{{{once},"{name}":{text}}}'
        body = f'{{"records":[{",".join(rows)}]}}'
        assert not taken(Media.JSON, body.encode()), body


def test_messagepack_with_a_member_twice_is_refused() -> None:
    """Also where a shorter form than an encoder's makes up for its bytes: a float of four bytes."""
    short = b"\xca" + struct.pack(">f", 1.5)
    plain = b"\x81\xa5value" + short
    assert taken(Media.MSGPACK, plain)
    assert taken(
        Media.MSGPACK, msgpack.packb({"records": [json.loads('{"value": {"a": 1.5, "b": [1]}}')] * 3})
    )
    for twice in (
        b"\x82\xa5value\x01\xa5value\x02",
        b"\x81\xa5value\x83\xa1a" + short + b"\xa1b\x01\xa1b\x01",
        b"\x81\xa7records\x91\x82\xa5value\x82\xa1a\x01\xa1a\x01\xa3key\xc0",
        b"\x82\xa5value" + short + b"\xd9\x05value\x01",
    ):
        assert not taken(Media.MSGPACK, twice), twice
