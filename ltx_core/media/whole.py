"""Whether a clip's file is as long as it says: a torn download still opens and plays its beginning.

Decoders end at the last frame they find without a word, so half a clip would pass for a short one.
"""

from typing import BinaryIO

#: First bytes of Matroska and WEBM, and the name of the element that holds everything else.
EBML_HEADER = b"\x1a\x45\xdf\xa3"
SEGMENT = b"\x18\x53\x80\x67"
#: Names of the outermost boxes of MP4 and MOV. Others are junk that some cameras append.
BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"mfra", b"sidx", b"styp"}


def stated_length(file: BinaryIO) -> int:
    """Return how many bytes a file should have by its own outline, or 0 if it has none.

    Knows MP4, MOV, Matroska and WEBM. The file is left at its beginning.
    """
    file.seek(0)
    start = file.read(8)
    if start[4:8] in BOXES:
        length = _boxes_length(file)
    elif start[:4] == EBML_HEADER:
        length = _segment_end(file)
    else:
        length = 0
    file.seek(0)
    return length


def _boxes_length(file: BinaryIO) -> int:
    """Follow boxes of (size, name): a size of 1 stands for 8 more bytes, 0 for the file's rest."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        if head[4:8] not in BOXES or size < 8:
            return position
        position += size


def _segment_end(file: BinaryIO) -> int:
    """Skip the header; the segment after it states its size, unless it was streamed."""
    file.seek(4)
    header = _read_size(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != SEGMENT:
        return 0
    size = _read_size(file)
    return 0 if size is None else file.tell() + size


def _read_size(file: BinaryIO) -> int | None:
    """Read a number whose first set bit tells its length; all ones mean it is not known."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value
