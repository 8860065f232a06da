"""The tripwires around aiohttp's private names."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect

import pytest
from aiohttp import web_protocol

from node.http import aiohttp_library, connection


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names may mean other things there."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.14.6")
    with pytest.raises(ImportError, match=r"3\.14\.5"):
        aiohttp_library.check_library(web_protocol)


def test_another_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patched file of the same version is another library."""
    monkeypatch.setattr(aiohttp_library, "SOURCE_SHA256", "0" * 64)
    with pytest.raises(ImportError, match="not the file"):
        aiohttp_library.check_library(web_protocol)


def test_a_missing_private_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced, and what is read and written."""
    monkeypatch.setattr(aiohttp_library, "METHODS", ("_no_such_method",))
    with pytest.raises(ImportError, match="_no_such_method"):
        aiohttp_library.check_library(web_protocol)
    with pytest.raises(ImportError, match="_messages"):
        aiohttp_library.check_connection(object())


def test_all_private_names_are_listed() -> None:
    """Whatever of aiohttp's a connection touches is on the list, and nothing else."""
    own = set(connection.Connection.__slots__) | set(vars(connection.Connection))
    touched = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(connection.Connection)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    foreign = {name for name in touched - own if name.startswith("_")}
    assert foreign == set(aiohttp_library.ATTRIBUTES)
    assert set(aiohttp_library.METHODS) <= set(vars(connection.Connection))
