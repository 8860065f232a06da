"""The error tree is what its docstring says."""

from __future__ import annotations

import re

from floodmark import errors


def test_the_docstring_is_the_tree() -> None:
    """Every class of the module stands in its docstring, below its base, and the other way round."""
    assert errors.__doc__ is not None
    rows = re.findall(r"^([│ ]*)[├└]── (\w+)", errors.__doc__, re.M)
    listed: dict[str, str] = {}
    above = ["FloodmarkError"]
    for indent, name in rows:
        depth = len(indent) // 4 + 1
        listed[name] = above[depth - 1]
        above[depth:] = [name]
    classes = {cls.__name__: cls.__base__.__name__ for cls in _all(errors.FloodmarkError) if cls.__base__}
    classes.pop("FloodmarkError")
    assert listed == classes


def test_codes_are_unique_and_find_their_class() -> None:
    """A code, and the cause where classes share one, leads back to exactly one class."""
    for cls in _all(errors.FloodmarkError):
        assert errors.error_class(cls.code, getattr(cls, "cause", "")) is cls
    assert errors.error_class("unavailable", "a cause of a later version") is errors.Unavailable
    assert errors.error_class("a code of a later version") is None


def _all(cls: type[errors.FloodmarkError]) -> list[type[errors.FloodmarkError]]:
    """Those of the module: nodes have subclasses of their own, which other tests may have loaded."""
    below = [found for sub in cls.__subclasses__() for found in _all(sub)]
    return [cls, *below] if cls.__module__ == errors.__name__ else below


def test_an_error_carries_hints() -> None:
    """Fields are kept, and the hint when to come back is a number of seconds."""
    error = errors.TooManyRequests("full", retry_after_s="0.5", leader="n1")
    assert error.retry_after_s == 0.5
    assert error.fields["leader"] == "n1"
    assert errors.Unavailable("x").retry_after_s is None
