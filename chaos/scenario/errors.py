"""What can be wrong with a scenario's text."""

from __future__ import annotations

from collections.abc import Sequence


class ScenarioInvalid(ValueError):
    """A scenario that cannot be run; ``problems`` has one line for each thing that is wrong."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        super().__init__(f"{source}: " + "; ".join(problems))
        self.source = source
        self.problems = list(problems)
