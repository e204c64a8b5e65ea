"""The published files: where each lies, where it belongs, how large it is. One table for everybody.

Sizes in GB (10^9 bytes). Links are plain downloads; files of a gated repository need the licence
accepted on its page first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .facts import COMPONENTS, FileFacts, covers


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One file a user may download."""

    name: str
    repository: str
    folder: str  # below ComfyUI's models folder
    gigabytes: float
    role: str
    generation: str  # or a range, as in `FileFacts.version`
    subfolder: str = ""  # inside the repository
    quantised: bool = False
    gated: bool = False
    #: What a file of `text_encoder_extras` holds; other roles say it.
    parts: tuple[str, ...] = ()

    @property
    def link(self) -> str:
        """Return where the file, or for a folder of shards its repository, is found."""
        page = f"https://huggingface.co/{self.repository}"
        if not self.name.endswith(".safetensors"):
            return page
        return f"{page}/resolve/main/{self.subfolder}{self.name}"

    def __str__(self) -> str:
        return f"{self.name} ({self.gigabytes:.3g} GB) in models/{self.folder}, {self.link}"


def _files(
    repository: str,
    generation: str,
    folder: str,
    role: str,
    *sizes: tuple[str, float],
    subfolder: str = "",
    quantised: bool = False,
    gated: bool = False,
    parts: tuple[str, ...] = (),
) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(
            name=f"{stem}.safetensors",
            repository=repository,
            folder=folder,
            gigabytes=gigabytes,
            role=role,
            generation=generation,
            subfolder=subfolder,
            quantised=quantised,
            gated=gated,
            parts=parts,
        )
        for stem, gigabytes in sizes
    )


_LTX20, _LTX23, _LTX25 = "Lightricks/LTX-2", "Lightricks/LTX-2.3", "Lightricks/LTX-2.5"
_COMFY, _SPLIT = "Comfy-Org/ltx-2", "split_files/text_encoders/"
_UPSCALERS = "latent_upscale_models"
#: Single parts of 2.0 and 2.3, for people who have the transformer alone. Sizes computed.
_PARTS20, _PARTS23 = "Kijai/LTXV2_comfy", "Kijai/LTX2.3_comfy"

#: In each role and generation the recommended file stands first.
CATALOGUE: Sequence[PublishedFile] = (
    # 2.0 (19B)
    *_files(_LTX20, "2.0", "checkpoints", "checkpoint",
        ("ltx-2-19b-distilled", 43.3), ("ltx-2-19b-dev", 43.3)),
    *_files(_LTX20, "2.0", "checkpoints", "checkpoint",
        ("ltx-2-19b-distilled-fp8", 27.1), ("ltx-2-19b-dev-fp8", 27.1), ("ltx-2-19b-dev-fp4", 20.0),
        quantised=True),
    *_files(_LTX20, "2.0", "loras", "lora", ("ltx-2-19b-distilled-lora-384", 7.5)),
    *_files(_LTX20, "2.0", _UPSCALERS, "latent_upscaler",
        ("ltx-2-spatial-upscaler-x2-1.0", 0.996), ("ltx-2-temporal-upscaler-x2-1.0", 0.262)),
    # 2.3 (22B)
    *_files(_LTX23, "2.3", "checkpoints", "checkpoint",
        ("ltx-2.3-22b-distilled", 46.1), ("ltx-2.3-22b-dev", 46.1),
        ("ltx-2.3-22b-distilled-1.1", 46.1)),
    *_files(f"{_LTX23}-fp8", "2.3", "checkpoints", "checkpoint",
        ("ltx-2.3-22b-distilled-fp8", 29.5), ("ltx-2.3-22b-dev-fp8", 29.5), quantised=True),
    *_files(f"{_LTX23}-nvfp4", "2.3", "checkpoints", "checkpoint",
        ("ltx-2.3-22b-dev-nvfp4", 21.7), quantised=True),
    *_files(_LTX23, "2.3", "loras", "lora",
        ("ltx-2.3-22b-distilled-lora-384", 7.6), ("ltx-2.3-22b-distilled-lora-384-1.1", 7.6)),
    *_files(f"{_LTX23}-22b-IC-LoRA-Union-Control", "2.3", "loras", "lora",
        ("ltx-2.3-22b-ic-lora-union-control-ref0.5", 0.654)),
    *_files(_LTX23, "2.3", _UPSCALERS, "latent_upscaler",
        ("ltx-2.3-spatial-upscaler-x2-1.1", 0.996), ("ltx-2.3-spatial-upscaler-x2-1.0", 0.996),
        ("ltx-2.3-spatial-upscaler-x1.5-1.0", 1.09), ("ltx-2.3-temporal-upscaler-x2-1.0", 0.262)),
    # single parts of both
    *_files(_PARTS20, "2.0", "text_encoders", "text_encoder_extras",
        ("ltx-2-19b-embeddings_connector_dev_bf16", 2.86),
        ("ltx-2-19b-embeddings_connector_distill_bf16", 2.86),
        parts=("connectors", "text_projection"), subfolder="text_encoders/"),
    *_files(_PARTS20, "2.0", "vae", "video_vae", ("LTX2_video_vae_bf16", 2.45), subfolder="VAE/"),
    *_files(_PARTS20, "2.0", "vae", "audio_vae", ("LTX2_audio_vae_bf16", 0.218), subfolder="VAE/"),
    *_files(_PARTS23, "2.3", "text_encoders", "text_encoder_extras",
        ("ltx-2.3_text_projection_bf16", 2.31), parts=("text_projection",),
        subfolder="text_encoders/"),
    *_files(_PARTS23, "2.3", "vae", "video_vae", ("LTX23_video_vae_bf16", 1.45), subfolder="vae/"),
    *_files(_PARTS23, "2.3", "vae", "audio_vae", ("LTX23_audio_vae_bf16", 0.365),
        subfolder="vae/"),
    # the text encoder of both
    *_files(_COMFY, "2.0-2.3", "text_encoders", "text_encoder",
        ("gemma_3_12B_it", 24.4), subfolder=_SPLIT),
    *_files(_COMFY, "2.0-2.3", "text_encoders", "text_encoder",
        ("gemma_3_12B_it_fp8_scaled", 13.2), ("gemma_3_12B_it_fpmixed", 13.7),
        ("gemma_3_12B_it_fp4_mixed", 9.45), subfolder=_SPLIT, quantised=True),
    PublishedFile(
        name="gemma-3-12b-it-qat-q4_0-unquantized",
        repository="google/gemma-3-12b-it-qat-q4_0-unquantized",
        folder="text_encoders", gigabytes=24.4, role="text_encoder", generation="2.0-2.3",
        gated=True,
    ),
    # 2.5 (22B), only in parts
    *_files(_LTX25, "2.5", "diffusion_models", "transformer",
        ("ltx-2.5-22b-distilled-transformer-bf16", 42.018),
        ("ltx-2.5-22b-dev-transformer-bf16", 42.018), gated=True),
    *_files(_LTX25, "2.5", "diffusion_models", "transformer",
        ("ltx-2.5-22b-distilled-transformer-comfy-int8-convrot", 21.504),
        ("ltx-2.5-22b-dev-transformer-comfy-int8-convrot", 21.504),
        ("ltx-2.5-22b-distilled-transformer-nvfp4", 18.722), quantised=True, gated=True),
    *_files(_LTX25, "2.5", "text_encoders", "text_encoder",
        ("gemma4-12b-with-proj-ltx-2.5-bf16", 26.264), gated=True),
    *_files(_LTX25, "2.5", "text_encoders", "text_encoder",
        ("gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot", 15.373), quantised=True, gated=True),
    *_files(_LTX25, "2.5", "vae", "video_vae",
        ("ltx-2.5-video-vae-bf16", 1.472), ("ltx-2.5-video-vae-conv-bf16", 1.452), gated=True),
    *_files(_LTX25, "2.5", "vae", "audio_vae", ("ltx-2.5-audio-vae-bf16", 0.365), gated=True),
    *_files(_LTX25, "2.5", _UPSCALERS, "latent_upscaler",
        ("ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0", 0.996),
        ("ltx-2.5-latent-temporal-upscaler-x2-bf16-1.0", 0.262), gated=True),
    *_files(_LTX25, "2.5", "loras", "lora", ("ltx-2.5-22b-distilled-lora-450-bf16", 8.9),
        gated=True),
    *_files(_LTX25, "2.5", "model_patches", "duration_head",
        ("ltx-2.5-duration-head-bf16", 0.004), gated=True),
)  # fmt: skip


def published(role: str, generation: str, *, quantised: bool = False) -> PublishedFile | None:
    """Return the recommended file for a role in a generation."""
    return next(
        (
            file
            for file in CATALOGUE
            if file.role == role
            and covers(file.generation, generation)
            and file.quantised == quantised
        ),
        None,
    )


def by_name(name: str) -> PublishedFile | None:
    """Return the published file of this name."""
    return next((file for file in CATALOGUE if file.name == name), None)


#: Parts a clip with sound needs, and the role of the file that brings them.
BRINGS = {
    "transformer": "transformer",
    "connectors": "transformer",
    "text_projection": "text_encoder",
    "video_vae": "video_vae",
    "audio_vae": "audio_vae",
    "vocoder": "audio_vae",
}
SINGLE_FILE = ("2.0", "2.3")


def bringing(part: str, generation: str) -> PublishedFile | None:
    """Return the smallest published file that brings one part to a model of a generation."""
    for file in CATALOGUE:
        if covers(file.generation, generation) and not file.quantised:
            holds = file.parts or tuple(p for p, role in BRINGS.items() if role == file.role)
            if part in holds and file.role not in ("checkpoint", "transformer"):
                return file
    role = "checkpoint" if generation in SINGLE_FILE else BRINGS.get(part, part)
    return published(role, generation)


def still_needs(facts: FileFacts) -> list[str]:
    """Say what a file needs beside it, one sentence per file, the necessary ones first.

    For a file whose generation cannot be told the list is empty.
    """
    generation = _one_generation(facts)
    if generation is None:
        return []
    model = "checkpoint" if generation in SINGLE_FILE else "transformer"
    if facts.role not in ("checkpoint", "transformer"):
        return [f"For the model it belongs to: {published(model, generation)}"]
    wanted: dict[PublishedFile, list[str]] = {}

    def want(file: PublishedFile | None, why: str) -> None:
        if file is not None:
            wanted.setdefault(file, []).append(why)

    for part in BRINGS:
        if part not in facts.components:
            want(bringing(part, generation), COMPONENTS[part])
    if not any(name.startswith("gemma") for name in facts.components):
        want(published("text_encoder", generation), "language model")
    want(published("latent_upscaler", generation), "second stage (spatial upscaler)")
    if "distilled" not in facts.name.lower():
        want(published("lora", generation), "second stage and few steps (distilled LoRA)")
    return [f"For the {', '.join(why)}: {file}" for file, why in wanted.items()]


def _one_generation(facts: FileFacts) -> str | None:
    """Return a generation to look files up for; of a range the newest that files exist for."""
    if facts.version is None or facts.role in ("config", "index"):
        return None
    order = ("2.3", "2.5", "2.0")
    return next((g for g in order if covers(facts.version, g)), None)
