"""The targets, by who sends the bytes: stored and produced data, other nodes, and clients."""

from tests.fuzz.target import Target
from tests.fuzz.targets import batches, commands, frames, heads, inside, peers, queues, requests, tokens

ALL: dict[str, Target] = {
    target.name: target
    for target in (
        *batches.TARGETS,
        *frames.TARGETS,
        *peers.TARGETS,
        *inside.TARGETS,
        *commands.TARGETS,
        *heads.TARGETS,
        *queues.TARGETS,
        *requests.TARGETS,
        *tokens.TARGETS,
    )
}
