"""The tripwires around the library."""

from __future__ import annotations

import importlib.metadata
import logging

import pytest
from pysyncobj import syncobj

from consensus.core import engine, engine_library


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of engine.py was written against one file."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.3.18")
    with pytest.raises(ImportError, match=r"0\.3\.17"):
        engine_library.check_library(syncobj)


def test_another_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patched file of the same version is another library."""
    monkeypatch.setattr(engine_library, "SOURCE_SHA256", "0" * 64)
    with pytest.raises(ImportError, match="not the file"):
        engine_library.check_library(syncobj)


def test_a_missing_private_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What engine.py overrides has to be there to be overridden."""
    monkeypatch.setattr(engine_library, "METHODS", ("__noSuchThing",))
    with pytest.raises(ImportError, match="noSuchThing"):
        engine_library.check_library(syncobj)


def test_the_library_writes_no_log() -> None:
    """Its warnings are about files and sockets that it does not have here."""
    assert engine.Engine.__mro__[2] is syncobj.SyncObj
    assert not logging.getLogger("pysyncobj.syncobj").isEnabledFor(logging.CRITICAL)
