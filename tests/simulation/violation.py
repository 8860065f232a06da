"""What a broken promise looks like."""

from __future__ import annotations


class Violation(AssertionError):
    """The simulated cluster broke one of its promises. ``rule`` names which, in a few words."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


def require(holds: bool, rule: str, detail: object) -> None:
    """Raise a ``Violation`` unless ``holds``. ``detail`` may be a callable, called only then."""
    if not holds:
        raise Violation(rule, str(detail() if callable(detail) else detail))
