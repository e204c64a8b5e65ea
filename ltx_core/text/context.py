"""What the transformer is told by a prompt, as a value."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextContext:
    """One encoded prompt. In 2.0 the transformer still widens it; there is no mask.

    `generation` is that of the connectors ("2.0", "2.3", "2.5"), `source` names the files it came
    from. Never changed in place.
    """

    video: Tensor  # [B, S, D]
    audio: Tensor  # [B, S, A]
    generation: str
    prompt: str = ""
    source: str = ""
    #: Those files and digests of their headers, which tell them from others of their names.
    identity: str = ""
