"""Three processes with a large state, killed in the middle of what they do with it: a few megabytes here.

``make large-state`` does it with 200 MB, for as long as it is told.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.process.large_state import scenario


async def test_nodes_killed_in_the_middle_of_checkpoints_and_installs_have_the_same_state(
    tmp_path: Path,
) -> None:
    """A node, the leader, a follower that is being brought in, and who brings it in."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    kinds = ["checkpoint", "checkpoint at the leader", "follower", "leader"]
    killed = await scenario(tmp_path, megabytes=3, seed=seed, kinds=kinds)
    assert killed.total() == len(kinds)
