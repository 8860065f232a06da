"""A kind of contract for import-linter: a package may import what is listed, nothing else of ours.

import-linter's own kinds list what must not be imported, so a package that is new is allowed until somebody
thinks of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyListedContract(Contract):
    """``source_packages`` import, of ``packages``, only what is in ``allowed_packages`` or themselves.

    Direct imports count. A package means all of its modules. Every allowed one must be imported, so
    that the list stays short.
    """

    source_packages = fields.ListField(subfield=fields.StringField())
    packages = fields.ListField(subfield=fields.StringField())
    allowed_packages = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001
        """Kept where nothing else is imported, and nothing is listed in vain."""
        wrong: list[str] = []
        used: set[str] = set()
        for importer in sorted(graph.modules):
            if _package_of(importer, self.source_packages) is None:
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                allowed = _package_of(imported, self.allowed_packages)
                if allowed is not None:
                    used.add(allowed)
                elif _package_of(imported, self.packages) and not _package_of(imported, self.source_packages):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    lines = ", ".join(str(detail["line_number"]) for detail in details)
                    wrong.append(f"{importer} -> {imported} (l.{lines})")
        wrong += [
            f"{allowed} is listed, and nothing imports it"
            for allowed in self.allowed_packages
            if allowed not in used
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each."""
        for line in check.metadata["wrong"]:
            output.print_error(f"- {line}", bold=False)
        output.new_line()


def _package_of(module: str, packages: Iterable[str]) -> str | None:
    """Which of ``packages`` a module is, or is in."""
    return next((name for name in packages if module == name or module.startswith(f"{name}.")), None)
