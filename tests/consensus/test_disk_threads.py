"""Threads that wait for the disk: all work is done, never more at once than there are threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from consensus.host.disk_threads import DiskThreads


async def test_results_and_errors_come_back_on_the_event_loop() -> None:
    """What work returns or raises reaches its callback, on the loop's thread."""
    threads = DiskThreads(2)
    home = threading.get_ident()
    seen: asyncio.Queue[tuple[object, BaseException | None, bool]] = asyncio.Queue()

    def note(result: object, error: BaseException | None) -> None:
        seen.put_nowait((result, error, threading.get_ident() == home))

    def fail() -> None:
        raise OSError("no disk")

    threads.submit(lambda: 7, note)
    assert await asyncio.wait_for(seen.get(), 60) == (7, None, True)
    threads.submit(fail, note)
    result, error, at_home = await asyncio.wait_for(seen.get(), 60)
    assert result is None
    assert isinstance(error, OSError)
    assert at_home
    threads.stop()


@pytest.mark.parametrize("count", [1, 3])
async def test_work_beyond_the_threads_waits_its_turn(count: int) -> None:
    """A hundred pieces of work are all done by ``count`` threads, in no more than that many at once."""
    threads = DiskThreads(count)
    lock = threading.Lock()
    running = most = 0
    names: set[str] = set()
    left = asyncio.Event()
    done: list[int] = []

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            names.add(threading.current_thread().name)
        with lock:
            running -= 1
        return number

    def note(result: int, _error: BaseException | None) -> None:
        done.append(result)
        if len(done) == 100:
            left.set()

    for number in range(100):
        threads.submit(lambda number=number: work(number), note)  # type: ignore[misc]
    await asyncio.wait_for(left.wait(), 60)
    assert sorted(done) == list(range(100))
    assert 1 <= most <= count
    assert len(names) <= count
    threads.stop()


async def test_stop_waits_for_what_a_thread_does() -> None:
    """Ending is not cutting off: the write that runs is finished first."""
    threads = DiskThreads(1)
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(60)
        ended.set()

    threads.submit(work, lambda _result, _error: None)
    assert await asyncio.to_thread(begun.wait, 60)
    may_end.set()
    threads.stop()
    assert ended.is_set()
