"""Makes whatever Python starts with this folder on its path a build that is newer than this one.

It knows one more feature level, one more command of the metadata, and frames of that level, all of which it
writes as soon as the cluster is raised to it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from floodmark.format import frame, frame_records

from node.metadata import this_build
from node.metadata.command import Command, CommandType
from node.metadata.edit import Edit
from node.metadata.state import Applied

LEVEL = this_build.THIS_BUILD.highest + 1
frame.LEVEL = LEVEL  # type: ignore[misc]


class Paint(Command, frozen=True, tag="paint_topic"):
    """The command of the newer build. It does something that metadata shows: the formation's name."""

    name: str


def _paint(edit: Edit, command: Paint) -> Applied:
    edit.state.formation = f"painted {command.name}"
    return edit.state.formation


# Before anything that takes it over is imported.
this_build.THIS_BUILD = dataclasses.replace(  # type: ignore[misc]
    this_build.THIS_BUILD,
    highest=LEVEL,
    commands={**this_build.THIS_BUILD.commands, "paint_topic": CommandType(Paint, LEVEL, _paint)},
)

from node.control import features  # noqa: E402
from node.partition import appender, batch_format  # noqa: E402


class _NewerFeatureLevel(features.FeatureLevel):
    async def finalize(self, level: int, *, timeout_s: float) -> features.Features:
        found = await super().finalize(level, timeout_s=timeout_s)
        if level >= LEVEL:
            await self._metadata.propose(Paint("all"), timeout_s=timeout_s)
        return found


class _NewerFormat(batch_format.BatchFormat):
    def __init__(self, metadata: Any) -> None:
        super().__init__(metadata)
        appender.form_of = self._form_of

    def _form_of(self, header: Any) -> frame_records.PayloadForm:
        form = frame_records.form_of(header)
        return form._replace(level=LEVEL) if self._metadata.state.level >= LEVEL else form


features.FeatureLevel = _NewerFeatureLevel  # type: ignore[misc]
batch_format.BatchFormat = _NewerFormat  # type: ignore[misc]
