"""The shipped workflows: five nodes and what is added to them, and their wired twins.

`uv run python -m ltx2_pack.scripts.workflows` writes `workflows/` and `api_examples/`; a test
compares without writing. Everything stands within 1,500 x 700, so that it opens readable.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..headless.convert import to_api
from ..headless.core_nodes import NODES as CORE_NODES
from ..ltx_core.checkpoint.catalogue import PublishedFile, by_name
from ..nodes import all_nodes
from ..nodes.host.standin.io import node_info
from .graph import Box, note, workflow

ROOT = Path(__file__).resolve().parents[1]
MODEL = "ltx-2.3-22b-distilled.safetensors"
DEV_MODEL = "ltx-2.3-22b-dev.safetensors"
GEMMA = "gemma_3_12B_it.safetensors"
UPSCALER = "ltx-2.3-spatial-upscaler-x2-1.1.safetensors"
DISTILLED_LORA = "ltx-2.3-22b-distilled-lora-384.safetensors"
IC_LORA = "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors"
PROMPT = (
    "A lighthouse on a cliff at dusk in soft rain, 35 mm film. The lamp turns on and its beam "
    "sweeps over the sea. Slow dolly in. Waves break on the rocks and wind blows. An old keeper at "
    'the rail says in a low voice: "There she is."'
)
PICTURE_PROMPT = (
    "The scene of the picture comes alive: a light wind moves everything that can move, and the "
    "camera slowly pushes in. Quiet ambience of the place, a distant bird calls."
)
CLIP_PROMPT = (
    "The same motion as the reference, as a hand-painted animation in warm evening light. Soft "
    "footsteps and a gentle breeze are heard."
)
LICENCES = (
    "Accept the licences of LTX-2 and Gemma on their pages first; then put the files where the "
    "table says, press R to refresh, and press Run."
)


def _models(*files: tuple[str, str]) -> list[dict[str, str]]:
    """Return what a loader says of its files, for ComfyUI to offer the download."""
    return [_download(name, folder) for name, folder in files]


def _download(name: str, folder: str) -> dict[str, str]:
    return {"name": name, "url": _published(name).link, "directory": folder}


def _published(name: str) -> PublishedFile:
    file = by_name(name)
    if file is None:
        raise ValueError(f"{name} is not in the catalogue")
    return file


def _table(*names: str) -> str:
    rows = [_row(_published(name)) for name in names]
    return "\n".join(["| file | folder | GB |", "| --- | --- | --- |", *rows])


def _row(file: PublishedFile) -> str:
    return f"| [{file.name}]({file.link}) | models/{file.folder} | {file.gigabytes:.1f} |"


def _note(*names: str, at: tuple[int, int], size: tuple[int, int], more: str = "") -> Box:
    text = "\n\n".join(part for part in (_table(*names), LICENCES, more) if part)
    return note(text, at, size)


def _five(prompt: str, guides: tuple[str, int] | None = None) -> dict[str, Box]:
    """Return load, prompt, size, generate, save; `guides` feeds Generate."""
    more = {} if guides is None else {"guides": guides}
    return {
        "load": Box(
            type="LTX2Load",
            at=(0, 0),
            size=(340, 270),
            widgets={"unet_name": MODEL, "clip_name": GEMMA, "upscale_model": UPSCALER},
            models=_models(
                (MODEL, "checkpoints"),
                (GEMMA, "text_encoders"),
                (UPSCALER, "latent_upscale_models"),
            ),
        ),
        "prompt": Box(
            type="LTX2Prompt",
            at=(370, 0),
            size=(400, 330),
            widgets={"prompt": prompt},
            links={"models": ("load", 0)},
        ),
        "size": Box(type="LTX2Size", at=(0, 330), size=(340, 220)),
        "generate": Box(
            type="LTX2Generate",
            at=(800, 0),
            size=(340, 330),
            links={
                "models": ("load", 0),
                "context": ("prompt", 0),
                "size": ("size", 0),
                **more,
            },
        ),
        "save": Box(
            type="LTX2SaveVideo", at=(1170, 0), size=(330, 480), links={"clip": ("generate", 0)}
        ),
    }


def _text_to_video() -> dict[str, Box]:
    return {
        **_five(PROMPT),
        "note": _note(MODEL, GEMMA, UPSCALER, at=(370, 400), size=(770, 260)),
    }


def _image_to_video() -> dict[str, Box]:
    boxes = _five(PICTURE_PROMPT, ("guide", 0))
    picture = Box(
        type="LoadImage", at=(370, 400), size=(190, 290), widgets={"image": "example.png"}
    )
    guide = Box(type="LTX2Guide", at=(590, 400), size=(250, 260), links={"image": ("picture", 0)})
    more = "Pick your picture in Load Image: it becomes the first frame."
    return {
        **boxes,
        "picture": picture,
        "guide": guide,
        "note": _note(MODEL, GEMMA, UPSCALER, at=(860, 400), size=(290, 290), more=more),
    }


def _video_to_video() -> dict[str, Box]:
    boxes = _five(CLIP_PROMPT, ("reference", 0))
    clip = Box(type="LoadVideo", at=(370, 400), size=(190, 290), widgets={"file": "reference.mp4"})
    reference = Box(
        type="LTX2Reference",
        at=(590, 400),
        size=(250, 260),
        widgets={"lora_name": IC_LORA},
        links={"video": ("clip", 0)},
        models=_models((IC_LORA, "loras")),
    )
    more = "Pick your clip in Load Video, or drop one on it; the IC-LoRA says what to make of it."
    return {
        **boxes,
        "clip": clip,
        "reference": reference,
        "note": _note(MODEL, GEMMA, UPSCALER, IC_LORA, at=(860, 400), size=(290, 290), more=more),
    }


def _wired(prompt: str, *, guided: bool, stage_1: Mapping[str, tuple[str, int]]) -> dict[str, Box]:
    """Return both stages wired one by one; `stage_1` are further links of the first sampler.

    `guided`: a dev checkpoint, guided, whose second stage runs with the distilled LoRA.
    """
    model = DEV_MODEL if guided else MODEL
    lora = {"lora_name": DISTILLED_LORA} if guided else {}
    guidance = {"guidance": ("guidance", 0)} if guided else {}
    boxes = {
        "model": Box(
            type="LTX2LoadModel",
            at=(0, 0),
            size=(250, 58),
            widgets={"unet_name": model},
            models=_models((model, "checkpoints")),
        ),
        "text_encoder": Box(
            type="LTX2LoadTextEncoder",
            at=(0, 100),
            size=(250, 80),
            widgets={"clip_name": GEMMA},
            links={"model": ("model", 0)},
            models=_models((GEMMA, "text_encoders")),
        ),
        "video_vae": Box(
            type="LTX2LoadVideoVAE",
            at=(0, 222),
            size=(250, 58),
            widgets={"video_vae": model},
        ),
        "audio_vae": Box(
            type="LTX2LoadAudioVAE",
            at=(0, 322),
            size=(250, 58),
            widgets={"audio_vae": model},
        ),
        "upscaler": Box(
            type="LTX2LoadUpscaler",
            at=(0, 422),
            size=(250, 58),
            widgets={"upscale_model": UPSCALER},
            models=_models((UPSCALER, "latent_upscale_models")),
        ),
        "lora": Box(
            type="LTX2LoadLora",
            at=(0, 522),
            size=(250, 102),
            title="LoRA of both stages",
            links={"model": ("model", 0)},
        ),
        "prompt": Box(
            type="LTX2EncodePrompt",
            at=(275, 0),
            size=(280, 260),
            widgets={"prompt": prompt},
            links={"text_encoder": ("text_encoder", 0)},
        ),
        "size": Box(type="LTX2Size", at=(275, 302), size=(280, 200)),
        "empty": Box(
            type="LTX2EmptyLatent", at=(275, 544), size=(280, 82), links={"size": ("size", 0)}
        ),
    }
    if guided:
        boxes["guidance"] = Box(type="LTX2Guidance", at=(580, 0), size=(270, 250))
    boxes |= {
        "stage_1": Box(
            type="LTX2StageSampler",
            at=(580, 300 if guided else 0),
            size=(270, 300),
            title="Stage 1, half size",
            widgets={"schedule": "ltx2" if guided else "distilled"},
            links={
                "latent": ("empty", 0),
                "model": ("lora", 0),
                "context": ("prompt", 0),
                **guidance,
                **stage_1,
            },
        ),
        "upscale": Box(
            type="LTX2SpatialUpscale",
            at=(875, 0),
            size=(260, 80),
            links={
                "latent": ("stage_1", 0),
                "upscaler": ("upscaler", 0),
                "video_vae": ("video_vae", 0),
            },
        ),
        "distilled": Box(
            type="LTX2LoadLora",
            at=(875, 122),
            size=(260, 102),
            title="LoRA of stage 2",
            widgets=lora,
            links={"model": ("lora", 0)},
            models=_models((DISTILLED_LORA, "loras")) if guided else [],
        ),
        "stage_2": Box(
            type="LTX2StageSampler",
            at=(875, 266),
            size=(260, 300),
            title="Stage 2, full size",
            widgets={"schedule": "refine", "stage": 2, "keep_sound": guided},
            links={
                "latent": ("upscale", 0),
                "model": ("distilled", 0),
                "context": ("prompt", 0),
            },
        ),
        "decode": Box(
            type="LTX2DecodeVideo",
            at=(1160, 0),
            size=(160, 80),
            links={"latent": ("stage_2", 0), "video_vae": ("video_vae", 0)},
        ),
        "sound": Box(
            type="LTX2DecodeAudio",
            at=(1340, 0),
            size=(160, 80),
            links={"latent": ("stage_2", 0), "audio_vae": ("audio_vae", 0)},
        ),
        "save": Box(
            type="LTX2SaveVideo",
            at=(1160, 130),
            size=(340, 330),
            links={"clip": ("decode", 0), "audio": ("sound", 0)},
        ),
    }
    return boxes


def _wired_text_to_video() -> dict[str, Box]:
    files = (DEV_MODEL, GEMMA, UPSCALER, DISTILLED_LORA)
    boxes = _wired(PROMPT, guided=True, stage_1={})
    return {**boxes, "note": _note(*files, at=(1160, 500), size=(340, 190))}


def _wired_image_to_video() -> dict[str, Box]:
    shown = {"guides": ("guide", 0), "video_vae": ("video_vae", 0)}
    boxes = _wired(PICTURE_PROMPT, guided=True, stage_1=shown)
    boxes["stage_2"].links |= shown
    boxes["picture"] = Box(
        type="LoadImage", at=(875, 600), size=(120, 90), widgets={"image": "example.png"}
    )
    boxes["guide"] = Box(
        type="LTX2Guide", at=(1015, 600), size=(120, 90), links={"image": ("picture", 0)}
    )
    files = (DEV_MODEL, GEMMA, UPSCALER, DISTILLED_LORA)
    return {**boxes, "note": _note(*files, at=(1160, 500), size=(340, 190))}


def _wired_video_to_video() -> dict[str, Box]:
    boxes = _wired(CLIP_PROMPT, guided=False, stage_1={"video_vae": ("video_vae", 0)})
    boxes["clip"] = Box(
        type="LoadVideo", at=(580, 360), size=(270, 90), widgets={"file": "reference.mp4"}
    )
    boxes["ic_lora"] = Box(
        type="LTX2ICLora",
        at=(580, 490),
        size=(270, 200),
        widgets={"lora_name": IC_LORA},
        links={"model": ("lora", 0), "video": ("clip", 0)},
        models=_models((IC_LORA, "loras")),
    )
    boxes["stage_1"].links |= {"model": ("ic_lora", 0), "guides": ("ic_lora", 1)}
    files = (MODEL, GEMMA, UPSCALER, IC_LORA)
    return {**boxes, "note": _note(*files, at=(1160, 500), size=(340, 190))}


#: File name -> boxes, the widgets of App mode's form, the boxes whose results it shows.
FORM = (
    ("prompt", "prompt"), ("size", "aspect_ratio"), ("size", "resolution"), ("size", "duration"),
    ("generate", "recipe"), ("generate", "seed"), ("generate", "audio"), ("generate", "plan"),
)  # fmt: skip
WIRED_FORM = (
    ("prompt", "prompt"), ("size", "aspect_ratio"), ("size", "resolution"), ("size", "duration"),
    ("stage_1", "seed"),
)  # fmt: skip


def shipped() -> dict[str, dict[str, Any]]:
    """Return every workflow in the UI format, by file name without suffix."""
    boxes = {
        "LTX-2 1 Text to video": (_text_to_video(), FORM),
        "LTX-2 2 Image to video": (_image_to_video(), (("picture", "image"), *FORM)),
        "LTX-2 3 Video to video (IC-LoRA)": (_video_to_video(), (("clip", "file"), *FORM)),
        "LTX-2 1 Text to video, wired": (_wired_text_to_video(), WIRED_FORM),
        "LTX-2 2 Image to video, wired": (
            _wired_image_to_video(),
            (("picture", "image"), *WIRED_FORM),
        ),
        "LTX-2 3 Video to video (IC-LoRA), wired": (
            _wired_video_to_video(),
            (("clip", "file"), *WIRED_FORM),
        ),
    }
    ours = {node.define_schema().node_id for node in all_nodes()}
    schemas = {
        schema.node_id: schema
        for schema in (node.define_schema() for node in (*all_nodes(), *CORE_NODES))
    }
    return {
        name: workflow(found, schemas, ours=ours, linear_inputs=form, linear_outputs=["save"])
        for name, (found, form) in boxes.items()
    }


def written_files() -> dict[Path, str]:
    """Return every generated file and what it must hold."""
    infos = {node.define_schema().node_id: node_info(node) for node in (*all_nodes(), *CORE_NODES)}
    found: dict[Path, str] = {}
    for name, graph in shipped().items():
        found[ROOT / "workflows" / f"{name}.json"] = _json(graph)
        found[ROOT / "api_examples" / f"{name}.json"] = _json(to_api(graph, infos))
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, content in written_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
