"""The error tree is what its docstring says."""

from __future__ import annotations

import re

from floodmark import errors


def test_the_docstring_is_the_tree() -> None:
    """Every class of the module stands in its docstring with its status, and the other way round."""
    assert errors.__doc__ is not None
    listed = {
        name: int(status) if status != "-" else 0
        for name, status in re.findall(r"── (\w+)\s+(\d{3}|-)  ", errors.__doc__ + "  ")
    }
    listed |= {name: int(status) for name, status in re.findall(r"── (\w+)\s+(\d{3})\n", errors.__doc__)}
    classes = {cls.__name__: cls.status for cls in errors.ERRORS_BY_CODE.values()}
    classes.pop("FloodmarkError")
    assert listed == classes


def test_codes_are_unique_and_find_their_class() -> None:
    """A code leads back to exactly one class, and no two classes share one."""

    def walk(cls: type[errors.FloodmarkError]) -> list[type[errors.FloodmarkError]]:
        return [cls, *(found for sub in cls.__subclasses__() for found in walk(sub))]

    # Nodes have subclasses of their own, which other tests may have loaded; their codes are the same.
    classes = [cls for cls in walk(errors.FloodmarkError) if cls.__module__ == errors.__name__]
    assert len(classes) == len(errors.ERRORS_BY_CODE)
    assert all(errors.ERRORS_BY_CODE[cls.code] is cls for cls in classes)


def test_an_error_carries_hints() -> None:
    """Fields are kept, and the hint when to come back is a number of seconds."""
    error = errors.TooManyRequests("full", retry_after_s="0.5", leader="n1")
    assert error.retry_after_s == 0.5
    assert error.fields["leader"] == "n1"
    assert errors.Unavailable("x").retry_after_s is None
