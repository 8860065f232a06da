"""The version of a file that has no other place for it: the last character of its magic.

The first version's checksums leave the magic out. From version 2 on they are of the magic and what they are
of in version 1: one flipped bit in the magic of a copy cannot make it look like one of a newer build.
"""

from __future__ import annotations

import google_crc32c


def unlike(known: bytes, copy: bytes) -> str | None:
    """What a whole copy of a newer version is, and what this build knows; None for anything else.

    ``known`` is this build's magic; a copy has its own at byte 0, its checksum at byte 4.
    """
    magic = copy[:4]
    if magic[:3] != known[:3] or not known[3:] < magic[3:] <= b"9":
        return None
    if google_crc32c.extend(google_crc32c.value(magic), copy[8:]) != int.from_bytes(copy[4:8], "little"):
        return None
    return f"has format {magic.decode()}, this build knows {known.decode()}"
