"""A node as a process: start, run until told to stop, shut down gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable

import structlog

from consensus.links.link_tls import node_uri
from node import allocator, callbacks, descriptors, logs, settings_exposure, settings_rules
from node.environment import Environment, environment_of
from node.lifecycle import FolderSetBack, Lifecycle
from node.membership.identity import FolderLock, IdentityProblem, Standing, load_or_create, replaced, save
from node.membership.registry import Registry
from node.metadata.levels import Levels
from node.metadata.this_build import THIS_BUILD
from node.security.credentials import Credentials
from node.settings import InvalidSettings, Settings
from node.wiring import NodeParts, build
from storage.errors import StorageError

STOP_WITHIN_S = 9.5
"""After this long a hanging shutdown is cut short: all that was acknowledged is on disk anyway."""

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Run a node in this process; returns the exit code. SIGTERM and SIGINT stop it."""
    logs.configure(settings.log.level, settings.log.format, node_id=settings.node.id)
    _prepare_interpreter()
    descriptors.take_all()
    try:
        with contextlib.ExitStack() as held:
            if settings.testing.slow_callback_ms:
                held.enter_context(callbacks.logged(settings.testing.slow_callback_ms))
            runner = held.enter_context(asyncio.Runner(loop_factory=_loop_factory(settings)))
            return runner.run(_until_signal(settings))
    except (IdentityProblem, InvalidSettings, StorageError, OSError) as error:
        _log.critical("can_not_run", reason=str(error))
        return 1


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event | None = None,
    on_built: Callable[[NodeParts], None] = lambda _parts: None,
    levels: Levels = THIS_BUILD,
    look_again: asyncio.Event | None = None,
) -> None:
    """Run a node until ``stop`` is set (or for ever), then leave. ``on_built`` gets its parts at each start.

    ``look_again`` has secrets and certificates read again when it is set, as when they change. Raises
    ``IdentityProblem``, ``InvalidSettings``, ``StorageError`` or ``OSError`` when it cannot go on.
    """
    stop = stop or asyncio.Event()
    _warn_of_what_is_open(settings)
    credentials = Credentials(settings, node_uri(settings.cluster.id, settings.node.id), look_again)
    lock = FolderLock(settings.node.data_dir)
    try:
        around = environment_of(settings)
        while (old_copy := await _live(settings, credentials, around, stop, on_built, levels)) is not None:
            # First the replicas, then the identity that says so: a crash between the two repeats both.
            old_copy.store.forsake()
            save(around.fs, settings.node.data_dir, replaced(old_copy.discovery.identity))
    finally:
        lock.release()


async def _live(
    settings: Settings,
    credentials: Credentials,
    around: Environment,
    stop: asyncio.Event,
    on_built: Callable[[NodeParts], None],
    levels: Levels,
) -> NodeParts | None:
    """Run from start to stop. Returns the parts if the folder was found to be an old copy, else None."""
    fs, data_dir = around.fs, settings.node.data_dir
    identity = load_or_create(fs, data_dir, node_id=settings.node.id, cluster_id=settings.cluster.id)
    if identity.standing is Standing.NEW:
        settings_rules.check_first_start(settings)
    registry = Registry(fs, data_dir)
    parts = build(settings, identity, registry, credentials, around, levels)
    lifecycle = Lifecycle(settings, identity, parts)
    on_built(parts)
    try:
        await lifecycle.run(stop)
    except FolderSetBack:
        return parts
    finally:
        await lifecycle.stop()
        registry.close()
    return None


async def _until_signal(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def asked(name: str) -> None:
        if stop.is_set():
            _log.warning("stopping_at_once", signal=name)
            os._exit(1)
        _log.info("stopping", signal=name)
        stop.set()
        loop.call_later(STOP_WITHIN_S, _give_up)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, signal.Signals(number).name)
    look_again = asyncio.Event()
    if not sys.stdin or not sys.stdin.isatty():  # From a terminal it means that the terminal is closed.
        loop.add_signal_handler(signal.SIGHUP, look_again.set)
    started = time.monotonic()
    await serve(settings, stop=stop, look_again=look_again)
    _log.info("stopped", after_s=round(time.monotonic() - started, 1))
    # Before it exits, the interpreter would search all that thousands of groups left for cycles.
    gc.freeze()
    return 0


def _give_up() -> None:
    _log.error("stop_took_too_long", hint="what was acknowledged is on disk; exiting at once")
    sys.stderr.flush()
    os._exit(1)


def _warn_of_what_is_open(settings: Settings) -> None:
    if settings.cluster.secret:
        _log.warning(
            "secret_among_settings",
            hint="whoever can see the settings or the command line has it: put it into cluster.secret_file",
        )
    for listener in settings_exposure.exposed_listeners(settings):
        _log.warning(
            "reachable_and_insecure",
            listener=listener,
            hint="http.insecure allows it: others may listen to this port, or read and change everything",
        )


def _prepare_interpreter() -> None:
    # Long collections of the oldest generation are pauses; what a node keeps for long has no cycles.
    gc.set_threshold(10_000, 50, 100)
    allocator.keep_pages()


def _loop_factory(settings: Settings) -> type[asyncio.AbstractEventLoop] | None:
    if settings.testing.slow_callback_ms:
        return None  # Only asyncio's own loop can be measured.
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - not there on every system

        return uvloop.Loop
    return None
