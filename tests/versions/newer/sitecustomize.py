"""Makes whatever Python starts with this folder on its path a build that is newer than this one.

It knows one more feature level, one more command of the metadata, and frames of that level, all of which it
writes as soon as the cluster is raised to it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from floodmark.format import frame, frame_records

from node.metadata import levels

LEVEL = levels.THIS_BUILD.highest + 1
frame.LEVEL = LEVEL  # type: ignore[misc]
# Before anything that takes it over is imported.
levels.THIS_BUILD = dataclasses.replace(  # type: ignore[misc]
    levels.THIS_BUILD, highest=LEVEL, commands={**levels.THIS_BUILD.commands, "paint_topic": LEVEL}
)

from node.control import features  # noqa: E402
from node.metadata import commands, state  # noqa: E402
from node.partition import appender, batch_format  # noqa: E402


class Paint(commands.Command, frozen=True, tag="paint_topic"):
    """The command of the newer build. It does something that metadata shows: the formation's name."""

    name: str


def _paint(metadata: state.MetadataState, command: Any) -> state.Applied:
    metadata.formation = f"painted {command.name}"
    return metadata.formation


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


commands.KINDS["paint_topic"] = Paint
state.APPLY[Paint] = _paint
features.FeatureLevel = _NewerFeatureLevel  # type: ignore[misc]
batch_format.BatchFormat = _NewerFormat  # type: ignore[misc]
