"""Compression of Kafka record batches, with every allocation bounded before anything is decompressed.

Such a batch does not say how many bytes its records have. gzip says it at its end, zstd in its header or not
at all; then its blocks give an upper bound. That number is capped before anything is decompressed, and memory
can be set aside for it. A batch is one gzip member or one zstd frame.

snappy (2) and lz4 (3) are not supported yet.
"""

from __future__ import annotations

import zlib
from typing import Final

import zstandard

from floodmark.errors import InvalidBatch, TooLarge
from floodmark.format import compression
from floodmark.format.limits import BATCH_RAW_BYTES_MAX

NONE: Final = 0
GZIP: Final = 1
ZSTD: Final = 4
CODECS: Final = (NONE, GZIP, ZSTD)
_GZIP_BYTES_MIN: Final = 18
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_BLOCK_BYTES_MAX: Final = 128 << 10
_BLOCKS_MAX: Final = 4096
"""The blocks of a zstd frame are looked at up to this number; a frame with more counts as the cap."""
_WINDOW_BYTES_MAX: Final = 128 << 20
"""The window of the highest level of zstd. Its memory is only touched as far as there is content."""
_LAST, _RLE, _COMPRESSED = 1, 1, 2


def grows_to(codec: int, body: bytes | memoryview) -> int:
    """The bytes that the records take up, or at most take up, before compression.

    Raises ``TooLarge``, ``InvalidBatch``.
    """
    if codec == GZIP:
        if len(body) < _GZIP_BYTES_MIN:
            raise InvalidBatch(f"a gzip member has at least {_GZIP_BYTES_MIN} bytes, this has {len(body)}")
        size = int.from_bytes(body[-4:], "little")
    elif codec == ZSTD:
        size = _zstd_size(body)
    else:
        size = len(body)
    if size > BATCH_RAW_BYTES_MAX:
        raise TooLarge(f"a batch of {size} bytes before compression; at most {BATCH_RAW_BYTES_MAX}")
    return size


def decompress(codec: int, body: bytes | memoryview, raw_length: int) -> bytes:
    """The records, at most ``raw_length`` bytes, which is what ``grows_to`` said. Raises ``InvalidBatch``."""
    if codec == GZIP:
        return _gunzip(body, raw_length)
    if zstandard.get_frame_parameters(body).content_size != zstandard.CONTENTSIZE_UNKNOWN:
        return compression.decompress(body, raw_length)
    # A decompressor that keeps no window when it is done.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
    try:
        return decompressor.decompress(body, max_output_size=max(1, raw_length), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidBatch(f"the zstd frame of the batch cannot be decoded: {error}") from error


def _gunzip(body: bytes | memoryview, raw_length: int) -> bytes:
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        raw = decompressor.decompress(body, raw_length + 1)
    except zlib.error as error:
        raise InvalidBatch(f"the gzip member of the batch cannot be decoded: {error}") from error
    if len(raw) != raw_length or not decompressor.eof or decompressor.unused_data:
        raise InvalidBatch(f"the records are not one gzip member of {raw_length} bytes")
    return raw


def _zstd_size(body: bytes | memoryview) -> int:
    if bytes(body[:4]) != _ZSTD_MAGIC:
        raise InvalidBatch("the records are not a zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(body)
        at = zstandard.frame_header_size(body)
    except zstandard.ZstdError as error:
        raise InvalidBatch(f"the zstd frame of the batch cannot be decoded: {error}") from error
    most = _blocks_grow_to(body, at, min(parameters.window_size, _BLOCK_BYTES_MAX))
    claimed = int(parameters.content_size)
    if claimed == zstandard.CONTENTSIZE_UNKNOWN:
        return most
    if most < claimed <= BATCH_RAW_BYTES_MAX:
        raise InvalidBatch(f"the zstd frame claims {claimed} bytes and holds {most} at most")
    return claimed


def _blocks_grow_to(body: bytes | memoryview, at: int, block_bytes_max: int) -> int:
    """Upper bound on the content of a zstd frame's blocks from ``at`` on; the cap if there are many."""
    total = 0
    for _ in range(_BLOCKS_MAX):
        head = int.from_bytes(body[at : at + 3], "little")
        if at + 3 > len(body):
            raise InvalidBatch("the zstd frame of the batch is cut off")
        kind, size = head >> 1 & 3, head >> 3
        total += block_bytes_max if kind == _COMPRESSED else size
        if head & _LAST:
            return min(total, BATCH_RAW_BYTES_MAX)
        at += 3 + (1 if kind == _RLE else size)
    return BATCH_RAW_BYTES_MAX
