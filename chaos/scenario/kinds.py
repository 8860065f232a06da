"""The kinds of faults that a scenario may name: every ``Fault`` in ``chaos.faults``, found automatically."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterator
from typing import Any

import chaos.faults
from chaos.faults.fault import Fault
from chaos.scenario.table import REQUIRED

AIM_FIELD = "aim"


@functools.cache
def kinds() -> dict[str, type[Fault]]:
    """kind -> class, in order of name."""
    for module in pkgutil.iter_modules(chaos.faults.__path__):
        importlib.import_module(f"{chaos.faults.__name__}.{module.name}")
    return {cls.kind: cls for cls in sorted(_below(Fault), key=lambda cls: cls.kind)}  # type: ignore[type-abstract]


def _below(cls: type[Fault]) -> Iterator[type[Fault]]:
    """Concrete kinds. A dataclass with slots is a new class; the class it was made from is skipped."""
    for sub in cls.__subclasses__():
        is_current = getattr(sys.modules[sub.__module__], sub.__name__, None) is sub
        if is_current and "kind" in vars(sub) and not inspect.isabstract(sub):
            yield sub
        yield from _below(sub)


@dataclasses.dataclass(frozen=True, slots=True)
class FieldOfFault:
    """A setting of a kind of fault: its type, and its default, or ``REQUIRED``."""

    name: str
    type: Any
    default: Any


@functools.cache
def fields_of(cls: type[Fault]) -> dict[str, FieldOfFault]:
    """A kind's own settings, without its target."""
    types = typing.get_type_hints(cls)
    return {
        field.name: FieldOfFault(field.name, types[field.name], _default_of(field))
        for field in dataclasses.fields(cls)
        if field.name != AIM_FIELD and field.init
    }


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def summary_of(cls: type[Fault]) -> str:
    """What a kind does, in the first line of its docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]
