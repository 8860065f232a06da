"""Hard caps shared by both sides: a client checks before it sends, a server before it stores."""

from __future__ import annotations

RECORD_BYTES_MAX_DEFAULT = 1 << 20
"""Key, value and headers of one record together; a topic's ``max_record_bytes`` may lower or raise it."""

BATCH_BYTES_MAX = 8 << 20
"""One record batch, its header included, as sent and as stored."""

BATCH_RAW_BYTES_MAX = 32 << 20
"""The records of one batch after decompression: the most that a small body may grow to."""

BATCH_RECORDS_MAX = 100_000
"""Records in one batch."""

RECORD_HEADERS_MAX = 64
"""Headers of one record."""

BATCH_HEADERS_MAX = 200_000
"""Headers of all records of one batch or one request together."""

JSON_DEPTH_MAX = 32
"""Nesting of a JSON value or body."""

NAME_LENGTH_MAX = 249
"""Characters of a topic's name."""

PARTITIONS_MAX = 1_000
"""Partitions of one topic."""

PRODUCER_ID_MAX = (1 << 63) - 1
"""The ids of numbered producers begin at 1."""

PRODUCER_EPOCH_MAX = (1 << 15) - 1
"""The last epoch of a numbered producer; after it the producer needs another id."""
