"""The keyed state: a map that is as it was when it was frozen, whatever is applied meanwhile."""

from __future__ import annotations

import os
import random

import msgpack
import pytest
from floodmark.format.frame import FrameKind

from consensus.core.keyed_pages import ENTRIES_AIM, Pages
from consensus.core.keyed_state import PAIR_BYTES_MAX, KeyedState, command
from storage.state_file import BLOCK_BYTES_MAX
from tests.support.raft import frame


def _loaded(blocks: list[bytes]) -> KeyedState:
    state = KeyedState()
    loader = state.loader()
    for block in blocks:
        loader.feed(block)
    state.adopt(loader, 9)
    return state


def test_views_of_a_map_that_changes_are_exact() -> None:
    """Random life of a map beside a plain dictionary: sets, removals, splits of pages, views half read."""
    seed = int.from_bytes(os.urandom(4), "little")
    rng = random.Random(seed)
    state, model = KeyedState(block_bytes=rng.randint(1, 2000)), {}
    index, views, view, expected, blocks = 1, 0, None, {}, []
    for _ in range(4000):
        pairs: list[tuple[bytes, bytes | None]] = []
        for _ in range(rng.randint(1, 4)):
            key = b"%d" % rng.randrange(1500)
            value = None if rng.random() < 0.3 else rng.randbytes(rng.randint(0, 60))
            pairs.append((key, value))
            model.pop(key, None) if value is None else model.update({key: value})
        index += 1
        state.apply(frame(index, 1, command(pairs)))
        if view is None and rng.random() < 0.02:
            view, expected, blocks = state.freeze(), dict(model), []
            parts = view.blocks()
        elif view is not None:
            for _ in range(rng.randint(0, 20)):
                block = next(parts, None)
                if block is not None:
                    blocks.append(block)
                    continue
                view.close()
                views += 1
                loaded = _loaded(blocks)
                assert dict(loaded.items()) == expected, f"seed {seed}"
                assert loaded.size == sum(len(k) + len(v) for k, v in expected.items()), f"seed {seed}"
                view = None
                break
            if view is not None and rng.random() < 0.002:
                view.close()  # Given up half way.
                view = None
    assert dict(state.items()) == model, f"seed {seed}"
    assert len(state) == len(model)
    assert all(state.get(key) == model.get(key) for key in (b"%d" % n for n in range(1500)))
    assert views > 3, f"seed {seed}"


def test_no_step_works_on_more_than_a_page() -> None:
    """However many entries there are: pages stay small, and a split touches one."""
    pages = Pages()
    for number in range(20_000):
        pages.put(b"%d" % number, b"")
    view, largest, count = pages.freeze(), 0, 0
    while (page := view.take()) is not None:
        largest, count = max(largest, len(page)), count + len(page)
    assert count == 20_000
    assert largest < 5 * ENTRIES_AIM


def test_equal_states_have_equal_digests_whatever_their_order() -> None:
    """And others have others."""
    pairs = [(b"%d" % number, os.urandom(9)) for number in range(500)]
    states = []
    for _ in range(2):
        random.shuffle(pairs)
        state = KeyedState(hash_=random.choice((hash, lambda key: int(key) * 7)))
        for number, pair in enumerate(pairs):
            state.apply(frame(number + 2, 1, command([pair])))
        states.append(state)
    assert states[0].digest() == states[1].digest()
    states[1].apply(frame(900, 1, command([(pairs[0][0], b"")])))
    assert states[0].digest() != states[1].digest()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"no",
        msgpack.packb(5),
        msgpack.packb([b"k"]),
        msgpack.packb(["k", b"v"]),
        msgpack.packb([b"k", 5]),
        msgpack.packb({b"k": b"v"}),
        msgpack.packb([b"k", bytes(PAIR_BYTES_MAX)]),
    ],
)
def test_a_command_of_another_form_changes_nothing(payload: bytes) -> None:
    """It is in the log, and every replica passes over it alike."""
    state = KeyedState()
    state.apply(frame(2, 1, payload))
    state.apply(frame(3, 1, payload, records=1))
    assert (len(state), state.applied) == (0, 3)
    assert frame(3, 1, payload, records=1).kind is FrameKind.RECORDS


def test_blocks_stay_within_their_bound() -> None:
    """Also with the largest pair; a larger one is refused before it is proposed."""
    state = KeyedState()
    for number in range(6):
        state.apply(frame(2 + number, 1, command([(b"%d" % number, bytes(PAIR_BYTES_MAX - 1))])))
    blocks = list(state.freeze().blocks())
    assert len(blocks) == 6
    assert max(map(len, blocks)) <= BLOCK_BYTES_MAX
    with pytest.raises(ValueError, match="at most"):
        command([(b"k", bytes(PAIR_BYTES_MAX))])


def test_an_empty_machine_is_a_machine() -> None:
    """Whoever asks whether there is one is not misled by what is in it; and a forgotten one holds nothing."""
    state = KeyedState()
    assert state
    assert len(state) == 0
    state.apply(frame(2, 1, command([(b"k", b"v")])))
    state.forget()
    assert list(state.items()) == []


def test_a_block_of_another_form_is_refused() -> None:
    """It would be a file of another machine."""
    with pytest.raises(ValueError, match="not a list of keys"):
        KeyedState().loader().feed(b"\x05")
