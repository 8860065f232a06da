"""Small files that are replaced as a whole, or not at all."""

from __future__ import annotations

from storage.filesystem import FileSystem, write_all

TEMPORARY_SUFFIX = ".tmp"


def replace_file(fs: FileSystem, folder: str, name: str, content: bytes, *, durable: bool) -> None:
    """Put ``content`` in the place of a file. With ``durable`` it is on disk on return.

    Without it a crash may leave an empty or partial file: only for content that carries a checksum and
    can be made again.
    """
    temporary = f"{folder}/{name}{TEMPORARY_SUFFIX}"
    file = fs.open(temporary, create=True)
    try:
        file.truncate(0)
        write_all(file, [content], 0)
        if durable:
            file.sync()
    finally:
        file.close()
    fs.rename(temporary, f"{folder}/{name}")
    if durable:
        fs.sync_folder(folder)


def read_file(fs: FileSystem, path: str) -> bytes | None:
    """The whole content, or None when there is no such file."""
    try:
        file = fs.open(path)
    except FileNotFoundError:
        return None
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()
