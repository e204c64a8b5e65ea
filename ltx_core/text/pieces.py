"""A SentencePiece model from the vocabulary a GGUF file carries.

The message: `sentencepiece_model.proto` of SentencePiece. GGUF numbers the kinds of pieces as it
does. What GGUF leaves out is the same for every Gemma: byte-pair merging by score, bytes for what
no piece spells, white space kept as it is.
"""

import struct
from collections.abc import Sequence

#: Kinds of pieces: normal, unknown, control, user-defined, unused, byte.
KINDS = range(1, 7)
#: Field numbers of the message, and of the messages in it.
PIECES, TRAINER, NORMALISER = 1, 2, 3
MODEL_TYPE, BYTE_FALLBACK, UNKNOWN_ID, BOS_ID, EOS_ID, PAD_ID = 3, 35, 40, 41, 42, 43
NAME, ADD_SPACE, TRIM_SPACES, MARK_SPACES = 1, 3, 4, 5
BYTE_PAIRS = 2
#: Gemma's special ids.
UNKNOWN, BOS, EOS, PAD = 3, 2, 1, 0


def spiece_model(tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int]) -> bytes:
    """Return the serialised model of a vocabulary. Raises ValueError if the lists do not fit."""
    if not len(tokens) == len(scores) == len(kinds):
        raise ValueError(f"{len(tokens)} tokens, {len(scores)} scores, {len(kinds)} kinds")
    if not tokens or any(kind not in KINDS for kind in kinds):
        raise ValueError("no tokens, or tokens of an unknown kind")
    pieces = zip(tokens, scores, kinds, strict=True)
    trainer = _numbers(
        (MODEL_TYPE, BYTE_PAIRS), (BYTE_FALLBACK, 1), (UNKNOWN_ID, UNKNOWN), (BOS_ID, BOS),
        (EOS_ID, EOS), (PAD_ID, PAD),
    )  # fmt: skip
    normaliser = _bytes(NAME, b"identity") + _numbers(
        (ADD_SPACE, 0), (TRIM_SPACES, 0), (MARK_SPACES, 1)
    )
    return b"".join(
        (*map(_piece, pieces), _bytes(TRAINER, trainer), _bytes(NORMALISER, normaliser))
    )


def _piece(piece: tuple[str, float, int]) -> bytes:
    token, score, kind = piece
    text = token.encode("utf-8")
    fixed = b"\x15" + struct.pack("<f", score)  # field 2, four bytes
    return _bytes(PIECES, _bytes(1, text) + fixed + _numbers((3, kind)))


def _numbers(*fields: tuple[int, int]) -> bytes:
    return b"".join(_varint(field << 3) + _varint(value) for field, value in fields)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a number in seven bits a byte, the lowest first; the top bit says that more follow."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))
