"""One thread writes and syncs while another appends and reads."""

from __future__ import annotations

import threading
from pathlib import Path

from floodmark.format.frame import iterate

from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import all_frames, fill, make_frame, reopen


def test_append_does_not_wait_for_a_running_fsync() -> None:
    """The leader takes in commands while the disk is busy."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    fill(log, 1)
    log.write()
    syncing, go_on = threading.Event(), threading.Event()
    enter = fs.enter

    def blocking(operation: str, path: str) -> None:
        if operation == "sync":
            syncing.set()
            assert go_on.wait(60)
        enter(operation, path)

    fs.enter = blocking  # type: ignore[method-assign]
    worker = threading.Thread(target=log.sync)
    worker.start()
    assert syncing.wait(60)
    frames = fill(log, 3)
    assert all_frames(log)[1:] == frames
    assert log.durable_index == 1
    assert len(log.read(0, end_offset=1, max_bytes=1000).frames) == 104
    go_on.set()
    worker.join(60)
    assert log.durable_index == 2
    assert log.last_index == 5


def test_writing_in_one_thread_and_appending_and_reading_in_another(tmp_path: Path) -> None:
    """A real disk, segments rolling, a tail that evicts: every frame stays readable all the time."""
    options = LogOptions(segment_bytes=16 << 10, index_interval_bytes=1024, tail_bytes_max=8 << 10)
    log = Log.open(RealFileSystem(), f"{tmp_path}/r", options)
    done = threading.Event()
    errors: list[BaseException] = []

    def flush() -> None:
        try:
            while not done.is_set() or log.durable_index < log.last_index:
                log.write()
                log.sync()
        except BaseException as error:
            errors.append(error)
            raise

    worker = threading.Thread(target=flush)
    worker.start()
    frames = []
    for number in range(1500):
        frames.append(make_frame(log, size=number % 300))
        log.append(frames[-1])
        back = frames[number * 7919 % len(frames)]
        assert log.frame(back.index) == back
        if back.index <= log.written_index:
            data = log.read(back.first_offset, end_offset=log.next_offset, max_bytes=600).frames
            assert next(iterate(data)) == back
        if number % 400 == 399:
            log.truncate(log.last_index - 5)
            del frames[-6:]
    done.set()
    worker.join(60)
    assert errors == []
    assert log.durable_index == log.last_index
    assert all_frames(log) == frames
    log.close()
