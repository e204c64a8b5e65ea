"""Files that are no LTX-2 model: what they are instead, where that can be told."""

import re

from ..errors import LTX2Error
from .header import Header

#: Keys that only the diffusers layout has, from the beginning of the key.
DIFFUSERS = re.compile(
    r"(audio_)?(proj_in|time_embed|prompt_adaln|connector|text_proj_in)\."
    r"|video_(connector|text_proj_in)\."
    r"|transformer_blocks\.\d+\.(audio_)?attn\d\.norm_[qk]\."
    r"|(en|de)coder\.mid_block\.resnets\.|latents_(mean|std)$|upsamplers\.0\.(weight|bias)$"
)
#: Family -> a key that only its files have.
FAMILIES = (
    ("Stable Diffusion 1 or 2", re.compile(r"(cond_stage_model|model\.diffusion_model\.input_bl)")),
    ("Stable Diffusion XL", re.compile(r"conditioner\.embedders\.")),
    ("Stable Diffusion 3", re.compile(r"(model\.diffusion_model\.)?joint_blocks\.")),
    ("Flux", re.compile(r"(model\.diffusion_model\.)?double_blocks\.\d+\.img_attn\.")),
    ("HunyuanVideo", re.compile(r"(model\.diffusion_model\.)?txt_in\.individual_token_refiner")),
    ("Wan", re.compile(r"(model\.diffusion_model\.)?blocks\.\d+\.self_attn\.")),
    ("T5 (a text encoder)", re.compile(r"(encoder|decoder)\.block\.\d+\.layer\.\d+\.")),
    ("CLIP (a text encoder)", re.compile(r"text_model\.encoder\.layers\.")),
    ("another language model", re.compile(r"(language_)?model\.(\w+\.)?layers\.\d+\.self_attn\.")),
)


def refuse_foreign(header: Header) -> LTX2Error:
    """Return the error for a file without any part of LTX-2."""
    name, where, keys = header.path.name, str(header.path.parent), sorted(header.tensors)
    if _is_video_only(keys):
        return LTX2Error(
            f"{name} is LTX-Video (0.9), which has no audio stream; it is not LTX-2.",
            needed="an LTX-2 checkpoint", where=where, code="ltxv_video_only",
        )  # fmt: skip
    family = next((f for f, pattern in FAMILIES if any(map(pattern.match, keys))), "")
    if not family and any(map(DIFFUSERS.match, keys)):
        return LTX2Error(
            f"{name} belongs to a diffusers folder, whose names differ from the official ones.",
            needed="the single-file checkpoint of the model", where="models/checkpoints",
            code="diffusers_layout",
        )  # fmt: skip
    like = f"it looks like {family}" if family else f"its keys are like {', '.join(keys[:3])}"
    return LTX2Error(
        f"{name} is not an LTX-2 model: {like if keys else 'it holds no tensors'}.",
        needed="an LTX-2 file", where=where, code="not_ltx2",
    )  # fmt: skip


def _is_video_only(keys: list[str]) -> bool:
    """LTX-Video shares the names of the video stream, in every prefix it was published under."""
    return any(key.endswith("adaln_single.linear.weight") for key in keys) and any(
        key.endswith("patchify_proj.weight") for key in keys
    )
