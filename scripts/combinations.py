"""Writes `docs/combinations.md`: which files go together, as the code that checks them says.

`uv run python -m ltx2_pack.scripts.combinations` writes it; a test compares without writing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..headless.doctor import RUN
from ..ltx_core.checkpoint.compatible import GEMMA_3, GEMMA_4, check_role, check_together
from ..ltx_core.checkpoint.facts import COMPONENTS, ROLES, FileFacts
from ..ltx_core.errors import LTX2Error
from ..nodes.host.files import ROLES as LISTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "combinations.md"
MODELS = ("2.0", "2.3", "2.5")
#: Width and layers of the language models, and what the official projections take.
WIDTH, LAYERS = 3840, 48


def model(generation: str) -> FileFacts:
    """Return a checkpoint of a generation, without the parts that others may bring."""
    return FileFacts(
        path=Path("model"), role="transformer", version=generation,
        components=("transformer", "connectors", "text_projection"),
        gemma_version=GEMMA_4 if generation == "2.5" else None,
        projection_inputs=WIDTH * (LAYERS + 1),
    )  # fmt: skip


def _other(role: str, version: str | None, *parts: str, **more: str) -> FileFacts:
    return FileFacts(
        path=Path("file"), role=role, version=version, components=parts or (role,), **more
    )


def _gemma(version: str | None, *parts: str, layers: int = LAYERS, **more: str) -> FileFacts:
    return FileFacts(
        path=Path("file"), role="text_encoder", version=version, components=(*parts, "tokenizer"),
        hidden=WIDTH, layers=layers, **more,
    )  # fmt: skip


#: What it is -> how `check_together` is given it, and the file.
PARTNERS: Sequence[tuple[str, str, FileFacts]] = (
    ("Gemma 3 12B", "text_encoder", _gemma("2.0-2.3", "gemma3")),
    ("Gemma 3 of another size", "text_encoder", _gemma("2.0-2.3", "gemma3", layers=34)),
    ("LTX's own Gemma 4 (gemma4-12b-ltx-v1)", "text_encoder",
     _gemma("2.5", "gemma4", "text_projection", gemma_version=GEMMA_4)),
    ("LTX's own Gemma 4 without its version", "text_encoder",
     _gemma("2.5", "gemma4", "text_projection")),
    ("stock Gemma 4", "text_encoder", _gemma(None, "gemma4")),
    ("connectors, projection 2.0", "extras",
     _other("text_encoder_extras", "2.0", "connectors", "text_projection")),
    ("connectors, projection 2.3 or later", "extras",
     _other("text_encoder_extras", "2.3+", "connectors", "text_projection")),
    *((f"video VAE {version}", "video_vae", _other("video_vae", version, decoder="conv"))
      for version in (*MODELS, "2.3+")),
    *((f"audio VAE and vocoder {version}", "audio_vae",
       _other("audio_vae", version, "audio_vae", "vocoder")) for version in (*MODELS, "2.3+")),
    *((f"latent upscaler {version}", "latent_upscaler", _other("latent_upscaler", version))
      for version in MODELS),
    ("latent upscaler without a version", "latent_upscaler", _other("latent_upscaler", None)),
    *((f"LoRA {version}", "loras", _other("lora", version)) for version in MODELS),
    ("LoRA without a version", "loras", _other("lora", None)),
)  # fmt: skip
#: Roles of files, and what each can be loaded as.
FILES: Sequence[tuple[str, FileFacts]] = (
    ("single-file checkpoint, diffusers folder",
     _other("checkpoint", "2.3", *(part for part in COMPONENTS if part != "duration_head"))),
    ("transformer with connectors", _other("transformer", "2.5", "transformer", "connectors")),
    ("transformer alone, GGUF", _other("transformer", "2.3", "transformer")),
    ("Gemma 3 with a tokenizer", _gemma("2.0-2.3", "gemma3")),
    ("Gemma 4 of LTX-2.5", _gemma("2.5", "gemma4", "text_projection", gemma_version=GEMMA_4)),
    ("connectors and projection",
     _other("text_encoder_extras", "2.0", "connectors", "text_projection")),
    ("video VAE", _other("video_vae", "2.3", decoder="conv")),
    ("audio VAE with vocoder", _other("audio_vae", "2.3", "audio_vae", "vocoder")),
    ("latent upscaler", _other("latent_upscaler", None)),
    ("LoRA", _other("lora", "2.3")),
    ("preview autoencoder", _other("preview_vae", None)),
)  # fmt: skip


def verdict(check: Callable[[], object]) -> str:
    """Return "yes", "warns", or "no" with the code of the refusal."""
    try:
        warnings = check()
    except LTX2Error as error:
        return f"no (`{error.code}`)"
    return "warns" if warnings else "yes"


def together(generation: str, how: str, partner: FileFacts) -> str:
    """Say whether a file goes with a model of a generation."""
    given = [partner] if how in ("extras", "loras") else partner
    if how == "text_encoder":
        check = {"text_encoder": given}
        return verdict(lambda: _with_role(partner) or check_together(
            transformer=model(generation), **check))  # fmt: skip
    return verdict(lambda: check_together(transformer=model(generation), **{how: given}))


def _with_role(partner: FileFacts) -> None:
    check_role(partner, "text_encoder")


def serves(facts: FileFacts, wanted: str) -> str:
    """Say whether a file can be loaded as something."""
    return verdict(lambda: check_role(facts, wanted))


def page() -> str:
    """Return the page."""
    runs = " and ".join(RUN)
    lines = [
        "# Which files go together",
        "",
        "Made by `uv run python -m ltx2_pack.scripts.combinations` from the code that checks files "
        "before anything is computed; the words in brackets are the codes of its errors. "
        f"Models of {runs} run; those of 2.5 are recognised, checked and named.",
        "",
        "## A file beside a model",
        "",
        *_table(
            ["file", *(f"LTX-{generation}" for generation in MODELS)],
            [[name, *(together(g, how, file) for g in MODELS)] for name, how, file in PARTNERS],
        ),
        "",
        f"2.0 and 2.3 were trained with {GEMMA_3}, 2.5 with {GEMMA_4}. The video autoencoders of "
        "2.3 and 2.5 have the same latents. \"2.3+\" is a file that states no version and whose "
        "tensors are those of 2.3 and 2.5 alike.",
        "",
        "## A file in a place",
        "",
        *_table(
            ["file", *(_place(role) for role in LISTS)],
            [[name, *(serves(file, one.wanted) for one in LISTS.values())] for name, file in FILES],
        ),
        "",
        "## Where files are looked for",
        "",
        *_table(
            ["list", "folders below `models`"],
            [[_place(role), ", ".join(f"`{key}`" for key in one.keys)]
             for role, one in LISTS.items()],
        ),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _place(role: str) -> str:
    if role == "checkpoint":
        return "model"
    return ROLES[role][0].removeprefix("a ").removeprefix("an ")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruler = ["---"] * len(head)
    return [f"| {' | '.join(row)} |" for row in (head, ruler, *rows)]


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
