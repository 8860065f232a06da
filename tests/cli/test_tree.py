"""Rules that hold for every command there is, found by walking the tree."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator

import click
import pytest

from cli.main import floodmark
from cli.output import FORMATS

_PRINT_NO_DATA = {
    "floodmark cluster roll",  # says what becomes of the nodes
    "floodmark dev",  # talks to a person and stays
    "floodmark start",  # logs and stays
    "floodmark completion",  # prints a shell script
}


def _commands(
    command: click.Command = floodmark, path: str = "floodmark"
) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, f"{path} {name} is listed and does not exist"
            yield from _commands(child, f"{path} {name}")
    else:
        yield path, command


_ALL = dict(_commands())


def test_loading_a_command_leaves_garbage_collection_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off meanwhile, also when the module cannot be loaded."""
    was_on: list[bool] = []

    def fail(_module: str) -> None:
        was_on.append(gc.isenabled())
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError):
        floodmark.get_command(click.Context(floodmark), "start")
    assert (was_on, gc.isenabled()) == ([False], True)


def _option(command: click.Command, flag: str) -> click.Option | None:
    return next(
        (each for each in command.params if isinstance(each, click.Option) and flag in each.opts), None
    )


@pytest.mark.parametrize("path", sorted(set(_ALL) - _PRINT_NO_DATA))
def test_every_command_that_prints_data_takes_all_formats(path: str) -> None:
    """-o is nowhere forgotten, means the same everywhere, and can be set by FLOODMARK_OUTPUT."""
    option = _option(_ALL[path], "-o")
    assert option is not None, f"{path} has no -o"
    assert "--output" in option.opts
    assert option.envvar == "FLOODMARK_OUTPUT"
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == FORMATS


@pytest.mark.parametrize("path", sorted(_ALL))
def test_every_command_and_option_explains_itself(path: str) -> None:
    """Help for the command and for each of its options that has no plain default; --debug on all of them."""
    command = _ALL[path]
    assert command.help
    assert _option(command, "--debug") is not None
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help or param.show_default, f"{path} {param.opts} is not explained"


def test_the_exceptions_exist() -> None:
    """A command that is renamed must not stay excused."""
    assert set(_ALL) >= _PRINT_NO_DATA


def test_one_letter_means_one_thing_in_a_command() -> None:
    """No two options share a name."""
    for path, command in _ALL.items():
        names = [name for param in command.params if isinstance(param, click.Option) for name in param.opts]
        assert len(names) == len(set(names)), path
