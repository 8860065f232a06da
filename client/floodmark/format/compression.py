"""zstd for record batches, with every allocation bounded by what the batch's header states.

A zstd frame states the size of its content in its own header, and the library believes it when it allocates.
So that statement is compared with the batch's ``raw_length``, which is capped, before anything is
decompressed.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from floodmark.errors import InvalidBatch

_LEVEL: Final = 1


class _PerThread(threading.local):
    """Contexts are costly to make and must not be used by two threads at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _PerThread()


def compress(raw: bytes) -> bytes:
    """One zstd frame that states its content size."""
    return _contexts.compressor.compress(raw)


def decompress(body: bytes | memoryview, raw_length: int) -> bytes:
    """The content of the one zstd frame that ``body`` is, of exactly ``raw_length`` bytes.

    Never allocates more than ``raw_length`` for it, whatever the frame claims. Raises ``InvalidBatch``.
    """
    try:
        claimed = zstandard.get_frame_parameters(body).content_size
        if claimed not in (raw_length, zstandard.CONTENTSIZE_UNKNOWN):
            raise InvalidBatch(f"raw_length says {raw_length} and the zstd frame claims {claimed} bytes")
        raw = _contexts.decompressor.decompress(body, max_output_size=raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidBatch(f"the zstd frame of the batch cannot be decoded: {error}") from error
    if len(raw) != raw_length:
        raise InvalidBatch(f"raw_length says {raw_length} and the records have {len(raw)} bytes")
    return raw
