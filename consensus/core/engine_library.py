"""What pysyncobj has to be for the engine to run over it: one version, one file, these private names.

The library is handed in: engine.py alone imports it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from types import ModuleType
from typing import Final

VERSION: Final = "0.3.17"
SOURCE_SHA256: Final = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"

METHODS: Final = (
    "__connectedToAnyone",
    "__generateRaftTimeout",
    "__getCurrentLogIndex",
    "__getCurrentLogTerm",
    "__getEntries",
    "__applyLogEntries",
    "__sendAppendEntries",
    "__tryLogCompaction",
    "__onSetCodeVersion",
    "__onMessageReceived",
    "__setCurrentTerm",
    "__setState",
)
"""Of its class, called or replaced."""

ATTRIBUTES: Final = (
    "__raftState",
    "__raftCurrentTerm",
    "__raftLeader",
    "__raftCommitIndex",
    "__raftLastApplied",
    "__raftElectionDeadline",
    "__newAppendEntriesTime",
    "__transferInProgress",
    "__otherNodes",
    "__readonlyNodes",
    "__raftMatchIndex",
    "__raftNextIndex",
    "__lastResponseTime",
    "__noopIDx",
)
"""Of each engine, read or written."""


def check_library(library: ModuleType) -> None:
    """Refuse a module ``pysyncobj.syncobj`` that is not the one the engine was written against."""
    found = importlib.metadata.version("pysyncobj")
    if found != VERSION:
        raise ImportError(f"the consensus engine needs pysyncobj {VERSION}, found {found}")
    assert library.__file__ is not None
    source = Path(library.__file__).read_bytes()
    if hashlib.sha256(source).hexdigest() != SOURCE_SHA256:
        raise ImportError("pysyncobj's syncobj.py is not the file that the engine was written against")
    missing = [name for name in METHODS if not hasattr(library.SyncObj, f"_SyncObj{name}")]
    if missing:
        raise ImportError(f"pysyncobj lacks {missing}")


def check_engine(engine: object) -> None:
    """Every engine has the attributes that are read and written."""
    missing = [name for name in ATTRIBUTES if not hasattr(engine, f"_SyncObj{name}")]
    assert not missing, f"pysyncobj lacks {missing}"
