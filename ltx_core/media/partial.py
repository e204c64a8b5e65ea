"""A file that appears under its name when it is complete, or not at all."""

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from av.error import FFmpegError

from ..errors import LTX2Error

#: Reasons a user can act on, by error number; EFBIG is a limit on the size of one file.
REASONS = {
    errno.ENOSPC: ("the disk is full", "free space there, or another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free space there, or another folder"),
    errno.EFBIG: ("the file became larger than allowed there", "a shorter clip or another folder"),
    errno.EACCES: ("its folder may not be written to", "permission to write, or another folder"),
    errno.EPERM: ("its folder may not be written to", "permission to write, or another folder"),
    errno.EROFS: ("its folder is read-only", "another folder"),
    errno.ENOENT: ("its folder does not exist", "another folder"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "another folder"),
    errno.EEXIST: ("a part of its path is a file, not a folder", "another folder"),
    errno.EISDIR: ("a folder of that name is in its place", "another name"),
    errno.ENAMETOOLONG: ("its name is too long", "a shorter name"),
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system or an encoder has against writing `path` into an LTX2Error."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        reason, needed = REASONS.get(error.errno or 0, (error.strerror or str(error), ""))
        raise LTX2Error(
            f"{path.name} could not be written: {reason}.",
            needed=needed,
            where=str(path.parent),
            code="not_written",
        ) from error


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, and rename it when the block ends well.

    Folders on the way are made. Whatever ends the block early, an interrupt included, removes the
    unfinished file; an older file under `path` stays as it was.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Short and of its own, so that a long name stays within what the file system allows.
    partial = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield partial
        with told(path):
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
