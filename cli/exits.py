"""How a command ends: the one place that turns errors into exit codes and messages.

0 success, 1 error, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 a promise was broken (chaos),
7 stored by a newer Floodmark than this one,
130 interrupted, 141 the reader of the output has closed it
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import click
from floodmark import errors

from cli import streams
from cli.visible import visible
from local.errors import FolderInUse, LocalClusterError, NotHealthy, NotReady, OtherSize

OK, ERROR, USAGE, NOT_FOUND, CONFLICT, UNAVAILABLE, VIOLATED, TOO_NEW = range(8)
INTERRUPTED = 128 + 2
"""What a shell reports for a process that SIGINT ended."""
READER_GONE = 128 + 13
"""What a shell reports for a process that SIGPIPE ended: the reader of our output has closed it."""

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (FolderInUse, CONFLICT),
    (OtherSize, CONFLICT),
    (NotReady, UNAVAILABLE),
    (NotHealthy, UNAVAILABLE),
    (errors.NotFound, NOT_FOUND),
    (errors.OffsetBelowStart, NOT_FOUND),
    (errors.OffsetPastEnd, NOT_FOUND),
    (errors.Conflict, CONFLICT),
    (errors.OffsetMismatch, CONFLICT),
    (errors.ProducerFenced, CONFLICT),
    (errors.TooManyRequests, UNAVAILABLE),
    (errors.RequestTimeout, UNAVAILABLE),
    (errors.Unavailable, UNAVAILABLE),
    (errors.OutcomeUnknown, UNAVAILABLE),
    (errors.StorageFull, UNAVAILABLE),
    (errors.TransportError, UNAVAILABLE),
    (errors.TooNew, TOO_NEW),
)


_HINTS: dict[type[errors.FloodmarkError], str] = {
    errors.OutcomeUnknown: "it may or may not have been stored: read the topic before sending it again",
}


_KEPT = "\n\t"
"""The control characters of a message that reach a terminal: it may quote text from elsewhere."""


def _hint(error: errors.FloodmarkError) -> str | None:
    if not isinstance(error, errors.TransportError):
        return _HINTS.get(type(error))
    if error.fields.get("sent"):  # A node accepted the request.
        return "'floodmark cluster health' shows what is wrong"
    return "is a node running there? 'floodmark dev' starts some; --server names another"


class ReaderGone(Exception):
    """The reader of our output has closed it."""


class Failure(click.ClickException):
    """An error found by a command itself, with its exit code and perhaps a hint."""

    def __init__(self, message: str, *, exit_code: int = ERROR, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = exit_code
        self.hint = hint


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(error, Failure):
        return error.code
    if isinstance(error, click.ClickException):
        return error.exit_code
    return next((code for cls, code in _CODES if isinstance(error, cls)), ERROR)


def describe(error: BaseException) -> tuple[str, str | None]:
    """What is wrong, in one line, and a hint what to do, if there is one."""
    hint: str | None = None
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "floodmark"
            message, hint = error.format_message(), f"'{command} --help' explains this command"
        case Failure():
            message, hint = error.message, error.hint
        case click.ClickException():
            message = error.format_message()
        case LocalClusterError():
            message, hint = str(error), error.hint
        case errors.FloodmarkError():
            message, hint = error.detail, _hint(error)
        case OSError():
            said = error.strerror or str(error)
            message = f"{error.filename}: {said}" if error.filename else said
        case _:
            message = f"{type(error).__name__}: {error}"
            hint = "this is a bug in Floodmark; --debug shows where it happened"
    return message, hint


def guard(command: Callable[[], Any], *, debug: Callable[[], bool]) -> int:
    """Run a command to its end and return its exit code; prints errors on stderr.

    With ``debug`` the traceback comes first.
    """
    try:
        result = command()
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (ReaderGone, BrokenPipeError):
        streams.discard_output()
        return READER_GONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except Exception as error:  # noqa: BLE001 - nothing may end a command with a traceback
        if debug():
            traceback.print_exception(error)
        message, hint = describe(error)
        click.secho(f"error: {visible(message, keep=_KEPT)}", fg="red", err=True)
        if hint:
            click.echo(f"hint: {visible(hint, keep=_KEPT)}", err=True)
        if isinstance(error, OSError):
            _give_up_output()
        return exit_code_of(error)
    return result if isinstance(result, int) else OK


def _give_up_output() -> None:
    """Discard unwritten output: Python would fail to write it again at exit, and complain once more."""
    try:
        sys.stdout.flush()
    except OSError:
        streams.discard_output()
