"""Bad bytes in the segments of running nodes."""

from __future__ import annotations

from pathlib import Path

from floodmark.format.frame import HEADER_BYTES, FrameHeader, decode_header

from storage import segment_header
from tests.support.nodes import NodeCluster, TestNode


def group_of(cluster: NodeCluster, topic: str) -> int:
    """The group of a topic's first partition."""
    return next(iter(cluster.up)).running.metadata.state.topics[topic].partitions[0].raft_group


def frames_in(path: Path) -> list[tuple[int, FrameHeader]]:
    """Position and header of each frame in a segment file."""
    data = path.read_bytes()
    found, position = [], segment_header.HEADER_BYTES
    while (header := decode_header(data, position)) is not None:
        found.append((position, header))
        position += header.size
    return found


def segments_of(node: TestNode, raft_group: int) -> list[Path]:
    """The segment files of a replica, oldest first."""
    return sorted((node.data_dir / "groups" / str(raft_group)).glob("*.log"))


def hit(node: TestNode, raft_group: int, index: int, *, in_header: bool = False) -> None:
    """Four bad bytes in the frame with a Raft index: in its payload, or in its header."""
    for path in segments_of(node, raft_group):
        for position, header in frames_in(path):
            if header.index == index:
                with path.open("r+b") as file:
                    file.seek(position + (20 if in_header else HEADER_BYTES + header.payload_length // 2))
                    file.write(b"XXXX")
                return
    raise AssertionError(f"{node.node_id} has no frame {index}")
