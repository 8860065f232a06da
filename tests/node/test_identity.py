"""Whose a data folder is, and what it remembers of groups and peers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from node.membership import registry as registry_module
from node.membership.identity import FolderLock, IdentityProblem, Standing, load_or_create, replaced, save
from node.membership.registry import Registry
from storage.filesystem import RealFileSystem

FS = RealFileSystem()


def load(folder: Path, node_id: str = "n1", cluster_id: str = "c") -> object:
    """The identity of a folder."""
    return load_or_create(FS, str(folder), node_id=node_id, cluster_id=cluster_id)


def test_a_folder_keeps_its_incarnation_and_standing(tmp_path: Path) -> None:
    """Made once, found again; another folder has another one."""
    first = load_or_create(FS, str(tmp_path / "a"), node_id="n1", cluster_id="c")
    assert first.standing == Standing.NEW
    formed = msgspec.structs.replace(first, standing=Standing.MEMBER, nodes=("n1", "n2"), formation="f")
    save(FS, str(tmp_path / "a"), formed)
    again = load_or_create(FS, str(tmp_path / "a"), node_id="n1", cluster_id="c")
    assert again == msgspec.structs.replace(formed, boot=2)
    other = replaced(again)
    assert other.incarnation != again.incarnation
    assert (other.standing, other.nodes, other.formation) == (Standing.WIPED, ("n1", "n2"), "f")
    assert load_or_create(FS, str(tmp_path / "b"), node_id="n1", cluster_id="c") != first


def test_a_folder_of_another_node_or_cluster_is_refused(tmp_path: Path) -> None:
    """The message says whose it is."""
    load(tmp_path)
    with pytest.raises(IdentityProblem, match="belongs to node n1, not to n2"):
        load(tmp_path, node_id="n2")
    with pytest.raises(IdentityProblem, match="belongs to cluster c, not to d"):
        load(tmp_path, cluster_id="d")


def test_a_folder_with_data_and_no_owner_is_refused(tmp_path: Path) -> None:
    """Deleting node.json does not make a fresh node of old data; a damaged or newer one stops it too."""
    load(tmp_path)
    Registry(FS, str(tmp_path)).close()
    file = tmp_path / "node.json"
    text = file.read_text()
    file.unlink()
    with pytest.raises(IdentityProblem, match=r"no node\.json"):
        load(tmp_path)
    file.write_text(text[:-9])
    with pytest.raises(IdentityProblem, match="damaged"):
        load(tmp_path)
    file.write_text(text.replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(IdentityProblem, match="format 9"):
        load(tmp_path)
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(IdentityProblem, match="cannot be used"):
        load(blocker / "below")


def test_one_process_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    """The second is told, and gets in when the first has left."""
    lock = FolderLock(str(tmp_path))
    with pytest.raises(IdentityProblem, match="in use by another process"):
        FolderLock(str(tmp_path))
    lock.release()
    FolderLock(str(tmp_path)).release()


def filled(folder: Path) -> Registry:
    """A registry with a bit of everything."""
    registry = Registry(FS, str(folder))
    registry.created([1, 2])
    registry.created([3])
    registry.removed([2])
    registry.met("n2", "old")
    registry.met("n2", "new")
    return registry


def test_the_registry_remembers_groups_and_first_incarnations(tmp_path: Path) -> None:
    """Also over a restart."""
    filled(tmp_path).close()
    again = Registry(FS, str(tmp_path))
    assert again.groups == {1, 3}
    assert again.peers == {"n2": "old"}


def test_a_torn_last_line_is_cut_and_writing_goes_on(tmp_path: Path) -> None:
    """Whatever is left of it."""
    filled(tmp_path).close()
    file = tmp_path / "registry.log"
    whole = file.read_bytes()
    torn = b"00000000 {}\n"
    for length in range(1, len(torn) + 1):
        file.write_bytes(whole + torn[:length])
        registry = Registry(FS, str(tmp_path))
        registry.created([9])
        registry.close()
        assert Registry(FS, str(tmp_path)).groups == {1, 3, 9}


def test_damage_before_the_end_stops_the_node(tmp_path: Path) -> None:
    """Forgetting a group would let it vote twice."""
    filled(tmp_path).close()
    file = tmp_path / "registry.log"
    damaged = bytearray(file.read_bytes())
    damaged[12] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(IdentityProblem, match="damaged at byte 0"):
        Registry(FS, str(tmp_path))


def test_a_long_registry_is_rewritten_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contents stay."""
    filled(tmp_path).close()
    monkeypatch.setattr(registry_module, "LINES_BEFORE_REWRITE", 3)
    again = Registry(FS, str(tmp_path))
    assert (again.groups, again.peers) == ({1, 3}, {"n2": "old"})
    assert len((tmp_path / "registry.log").read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    ("change", "unlike"),
    [
        ({"format": 2}, "has format 2, this build knows 1"),
        ({"barred": [7]}, "has a change 'barred', which this build does not know"),
    ],
)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_registry_of_a_newer_build_is_not_cut(
    tmp_path: Path, change: dict[str, object], unlike: str, is_last: bool
) -> None:
    """Its last line too, which is no torn one: its checksum is right. The node does not start."""
    filled(tmp_path).close()
    file = tmp_path / "registry.log"
    content = file.read_bytes() + registry_module._line(change)
    if not is_last:
        content += registry_module._line({"created": [9]})
    file.write_bytes(content)
    with pytest.raises(IdentityProblem, match=f"{file} {unlike} .*: start a newer Floodmark$"):
        Registry(FS, str(tmp_path))
    assert file.read_bytes() == content


def test_an_identity_of_a_newer_build_is_not_damaged(tmp_path: Path) -> None:
    """Whatever else it says: nobody is told to restore it, and it stays as it is."""
    load(tmp_path)
    file = tmp_path / "node.json"
    for content in (b'{"format_version": 3}', b'{"format_version": 3, "standing": "retired", "node_id": 5}'):
        file.write_bytes(content)
        with pytest.raises(
            IdentityProblem, match=r"has format 3, this build knows 2: start a newer Floodmark$"
        ):
            load(tmp_path)
        assert file.read_bytes() == content
