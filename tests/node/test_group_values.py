"""Keys and values of a coordinator's state: how they are stored, and what of other builds is read."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.errors import InvalidRequest, TooNew
from hypothesis import given, settings
from hypothesis import strategies as st

from node.coordinator import keys, values
from node.coordinator.groups.current import Current
from node.coordinator.groups.group import Group, partitions_of, target_value
from node.coordinator.values import GroupValue, MemberValue, OffsetValue

NAMES = st.text(min_size=1, max_size=60)
PARTITIONS = st.tuples(st.integers(1, 1 << 40), st.integers(0, 5_000))


@given(group=NAMES, member=NAMES, partition=PARTITIONS)
@settings(max_examples=100)
def test_keys_tell_their_parts(group: str, member: str, partition: keys.TopicPartition) -> None:
    """Whatever the names are, a key is read as what it was made of, and keys of different things differ."""
    made = {
        keys.group_key(group): keys.Key(keys.Kind.GROUP, group),
        keys.member_key(group, member): keys.Key(keys.Kind.MEMBER, group, member),
        keys.target_key(group, member): keys.Key(keys.Kind.TARGET, group, member),
        keys.current_key(group, member): keys.Key(keys.Kind.CURRENT, group, member),
        keys.offset_key(group, partition): keys.Key(keys.Kind.OFFSET, group, partition=partition),
    }
    assert len(made) == 5
    for key, parts in made.items():
        assert keys.parse(key) == parts
        assert keys.group_of(key) == group


def test_bytes_that_are_no_key_are_refused() -> None:
    """A damaged key is told; a kind of a newer build still has its group."""
    for data in (b"", b"\x01", b"\x01\x05ab"):
        with pytest.raises(ValueError, match="ends within"):
            keys.group_of(data)
    with pytest.raises(ValueError, match="not the key of an offset"):
        keys.partition_of(keys.group_key("g"))
    assert keys.parse(b"\x63\x01gx") == keys.Key(99, "g", "x")
    for name in ("", "ä" * 128):
        with pytest.raises(InvalidRequest):
            keys.group_key(name)


def test_stored_keys_and_values_do_not_change() -> None:
    """These bytes are in shards of clusters that run: no change of the code may read them otherwise."""
    assert keys.offset_key("g", (7, 3)).hex() == "0501670000000000000007" + "00000003"
    stored = values.encode(OffsetValue(1, 42, 5, 1_000, "note"))
    assert stored.hex() == "95012a05cd03e8a46e6f7465"
    assert values.decode(OffsetValue, stored) == OffsetValue(1, 42, 5, 1_000, "note")
    group = GroupValue(epoch=3, assignor="range", topics=((7, 2),))
    assert values.encode(group).hex() == "9a01a8636f6e73756d657203a572616e6765919207020" + "0a0a0a0a0"
    current = Current(3, 2, {(7, 0): 1, (7, 1): 3, (8, 0): 3}, {(9, 9): 2})
    assert Current.of(current.encode()) == current


def test_values_of_a_newer_build() -> None:
    """Fields that were added are passed over, missing ones have defaults, a higher version is too new."""
    assert values.decode(OffsetValue, msgspec.msgpack.encode([1, 42, 5, 9, "m", "more"])).metadata == "m"
    assert values.decode(MemberValue, msgspec.msgpack.encode([1, "i"])) == MemberValue(instance_id="i")
    for newer in ([2, 42, 5, 9, ""], [2, "another form"]):
        with pytest.raises(TooNew):
            values.decode(OffsetValue, msgspec.msgpack.encode(newer))
    for damaged in (b"", b"\xc1", msgspec.msgpack.encode([1, "x"]), msgspec.msgpack.encode({})):
        with pytest.raises(ValueError, match="not a stored"):
            values.decode(OffsetValue, damaged)


def test_a_view_follows_the_pairs() -> None:
    """A group's view made of the state equals the one that took in each pair, and offsets are looked up."""
    state: dict[bytes, bytes] = {}
    group = Group.of("g", state.get, lambda: list(state))
    assert not group
    for key, value in (
        (keys.group_key("g"), values.encode(GroupValue(epoch=2))),
        (keys.member_key("g", "a"), values.encode(MemberValue(instance_id="one"))),
        (keys.target_key("g", "a"), values.encode(target_value(frozenset({(1, 0), (1, 1)})))),
        (keys.current_key("g", "a"), Current(2, 1, {(1, 0): 2}, {(1, 5): 1}).encode()),
        (keys.offset_key("g", (1, 0)), values.encode(OffsetValue(1, 9, -1, 5))),
        (b"\x63\x01gx", b"of a newer build"),
    ):
        state[key] = value
        group.replay(key, value)
    again = Group.of("g", state.get, lambda: list(state))
    for view in (group, again):
        assert view.epoch == 2
        assert view.owners == {(1, 0): "a", (1, 5): "a"}
        assert view.targets["a"] == partitions_of(target_value(frozenset({(1, 0), (1, 1)})))
        assert view.instance("one") == "a"
        assert view.instance("two") is None
        assert dict(view.offsets()) == {(1, 0): OffsetValue(1, 9, -1, 5)}
        assert view.offset((1, 1)) is None
    for key in list(state):
        del state[key]
        group.replay(key, None)
    assert not group
    assert [group.members, group.targets, group.currents, group.owners] == [{}] * 4
