"""Whatever `make fuzz` has found holds still: the whole corpus, each input with bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.fuzz.target import MEMORY_BYTES_MAX, Target, corpus_of, joined, parts
from tests.fuzz.targets import ALL


@pytest.mark.parametrize("target", ALL.values(), ids=ALL.keys())
def test_everything_kept_holds(target: Target) -> None:
    """Sound inputs, and what the fuzzer found to reach other code."""
    kept = corpus_of(target.name)
    assert kept, "a target without a corpus: `make fuzz` makes it"
    target.run(kept[0])  # What is imported and made only once counts for no input.
    for data in [*target.seeds(), *kept]:
        tracemalloc.start()
        try:
            target.run(data)
            _, most = tracemalloc.get_traced_memory()
        except Exception as error:
            raise AssertionError(f"{target.name} broke with {data!r}") from error
        finally:
            tracemalloc.stop()
        assert most <= MEMORY_BYTES_MAX, f"{most} bytes at once for {data!r}"


@pytest.mark.parametrize("target", ALL.values(), ids=ALL.keys())
def test_each_target_says_what_must_hold(target: Target) -> None:
    """In its docstring."""
    assert target.run.__doc__


def test_parts_are_as_they_were_joined() -> None:
    """Also what is cut off in the middle."""
    assert parts(joined(b"a", b"", b"ccc"), 3) == [b"a", b"", b"ccc"]
    assert parts(b"\xff\xffab", 2) == [b"ab", b""]
