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
    "Accept the licences of LTX-2 and Gemma on their pages first; then put the files into these "
    "folders, press R to refresh, and press Run."
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


def _list(*names: str) -> str:
    """Return the table for a note that is too narrow for columns."""
    return "\n".join(
        f"- [{file.name}]({file.link}) models/{file.folder} | {file.gigabytes:.1f} GB"
        for file in map(_published, names)
    )


def _note(files: str, at: tuple[int, int], size: tuple[int, int], more: str = "") -> Box:
    return note("\n\n".join(part for part in (files, LICENCES, more) if part), at, size)


def _five(prompt: str, *, prompt_height: int, guides: tuple[str, int] | None) -> dict[str, Box]:
    """Return load, prompt, size, generate, save; `guides` feeds Generate."""
    more = {} if guides is None else {"guides": guides}
    return {
        "load": Box(
            type="LTX2Load",
            at=(0, 0),
            size=(330, 106),
            widgets={"unet_name": MODEL, "clip_name": GEMMA, "upscale_model": UPSCALER},
            models=_models(
                (MODEL, "checkpoints"),
                (GEMMA, "text_encoders"),
                (UPSCALER, "latent_upscale_models"),
            ),
        ),
        "prompt": Box(
            type="LTX2Prompt",
            at=(355, 0),
            size=(400, prompt_height),
            widgets={"prompt": prompt},
            links={"models": ("load", 0)},
        ),
        "size": Box(type="LTX2Size", at=(0, 420), size=(330, 194)),
        "generate": Box(
            type="LTX2Generate",
            at=(780, 0),
            size=(340, 214),
            links={
                "models": ("load", 0),
                "context": ("prompt", 0),
                "size": ("size", 0),
                **more,
            },
        ),
        "save": Box(
            type="LTX2SaveVideo", at=(1145, 0), size=(325, 162), links={"clip": ("generate", 0)}
        ),
    }


def _text_to_video() -> dict[str, Box]:
    return {
        **_five(PROMPT, prompt_height=330, guides=None),
        "note": _note(_table(MODEL, GEMMA, UPSCALER), at=(355, 420), size=(400, 194)),
    }


def _image_to_video() -> dict[str, Box]:
    boxes = _five(PICTURE_PROMPT, prompt_height=270, guides=("guide", 0))
    picture = Box(
        type="LoadImage", at=(355, 350), size=(226, 326), widgets={"image": "example.png"}
    )
    guide = Box(type="LTX2Guide", at=(600, 420), size=(250, 126), links={"image": ("picture", 0)})
    more = "Pick your picture in Load Image: it becomes the first frame."
    return {
        **boxes,
        "picture": picture,
        "guide": guide,
        "note": _note(_table(MODEL, GEMMA, UPSCALER), at=(875, 460), size=(595, 200), more=more),
    }


def _video_to_video() -> dict[str, Box]:
    boxes = _five(CLIP_PROMPT, prompt_height=270, guides=("reference", 0))
    clip = Box(type="LoadVideo", at=(355, 350), size=(226, 310), widgets={"file": "reference.mp4"})
    reference = Box(
        type="LTX2Reference",
        at=(600, 420),
        size=(250, 166),
        widgets={"lora_name": IC_LORA},
        links={"video": ("clip", 0)},
        models=_models((IC_LORA, "loras")),
    )
    more = "Pick your clip in Load Video, or drop one on it; the IC-LoRA says what to make of it."
    return {
        **boxes,
        "clip": clip,
        "reference": reference,
        "note": _note(
            _table(MODEL, GEMMA, UPSCALER, IC_LORA), at=(875, 460), size=(595, 200), more=more
        ),
    }


#: Columns of a wired graph, from left to right: where each begins and how wide it is.
LOADERS, TEXT, GIVEN, FIRST, SECOND, RESULT = (
    (0, 270), (282, 240), (534, 226), (772, 226), (1010, 226), (1248, 232),
)  # fmt: skip


def _in(column: tuple[int, int], y: int, height: int) -> dict[str, tuple[int, int]]:
    """Return place and size of a node in a column."""
    left, width = column
    return {"at": (left, y), "size": (width, height)}


def _loaders(model: str) -> dict[str, Box]:
    return {
        "model": Box(
            type="LTX2LoadModel",
            **_in(LOADERS, 0, 58),
            widgets={"unet_name": model},
            models=_models((model, "checkpoints")),
        ),
        "text_encoder": Box(
            type="LTX2LoadTextEncoder",
            **_in(LOADERS, 124, 82),
            widgets={"clip_name": GEMMA},
            links={"model": ("model", 0)},
            models=_models((GEMMA, "text_encoders")),
        ),
        "video_vae": Box(
            type="LTX2LoadVideoVAE", **_in(LOADERS, 280, 58), widgets={"video_vae": model}
        ),
        "audio_vae": Box(
            type="LTX2LoadAudioVAE", **_in(LOADERS, 404, 58), widgets={"audio_vae": model}
        ),
    }


def _text_and_size(prompt: str) -> dict[str, Box]:
    return {
        "prompt": Box(
            type="LTX2EncodePrompt",
            **_in(TEXT, 0, 230),
            widgets={"prompt": prompt},
            links={"text_encoder": ("text_encoder", 0)},
        ),
        "size": Box(type="LTX2Size", **_in(TEXT, 272, 194)),
        "empty": Box(type="LTX2EmptyLatent", **_in(TEXT, 548, 82), links={"size": ("size", 0)}),
    }


def _upscaler(y: int) -> Box:
    return Box(
        type="LTX2LoadUpscaler",
        **_in(GIVEN, y, 58),
        widgets={"upscale_model": UPSCALER},
        models=_models((UPSCALER, "latent_upscale_models")),
    )


def _stage(number: int, y: int, links: Mapping[str, tuple[str, int]], **widgets: Any) -> Box:
    return Box(
        type="LTX2StageSampler",
        **_in(FIRST if number == 1 else SECOND, y, 326),
        title="Stage 1, half size" if number == 1 else "Stage 2, full size",
        widgets=widgets,
        links={"context": ("prompt", 0), **links},
    )


def _results(*files: str) -> dict[str, Box]:
    """Return what follows both stages, and the note."""
    return {
        "decode": Box(
            type="LTX2DecodeVideo",
            **_in(RESULT, 0, 66),
            links={"latent": ("stage_2", 0), "video_vae": ("video_vae", 0)},
        ),
        "sound": Box(
            type="LTX2DecodeAudio",
            **_in(RESULT, 138, 78),
            links={"latent": ("stage_2", 0), "audio_vae": ("audio_vae", 0)},
        ),
        "save": Box(
            type="LTX2SaveVideo",
            **_in(RESULT, 288, 162),
            links={"clip": ("decode", 0), "audio": ("sound", 0)},
        ),
        "note": _note(_list(*files), **_in(LOADERS, 528, 172)),
    }


def _upscale() -> Box:
    return Box(
        type="LTX2SpatialUpscale",
        **_in(SECOND, 0, 66),
        links={
            "latent": ("stage_1", 0),
            "upscaler": ("upscaler", 0),
            "video_vae": ("video_vae", 0),
        },
    )


def _guided(
    prompt: str, given: Mapping[str, Box], *, model: str, shown: Mapping[str, tuple[str, int]]
) -> dict[str, Box]:
    """Return a dev checkpoint, guided, whose second stage runs with the distilled LoRA.

    `given` are the boxes of the third column, `model` the one the stages run on, `shown` what both
    stages follow.
    """
    return {
        **_loaders(DEV_MODEL),
        **_text_and_size(prompt),
        **given,
        "guidance": Box(type="LTX2Guidance", **_in(FIRST, 0, 250)),
        "stage_1": _stage(
            1,
            348,
            {
                "latent": ("empty", 0),
                "model": (model, 0),
                "guidance": ("guidance", 0),
                **shown,
            },
            schedule="ltx2",
        ),
        "upscale": _upscale(),
        "distilled": Box(
            type="LTX2LoadLora",
            **_in(SECOND, 138, 102),
            title="LoRA of stage 2",
            widgets={"lora_name": DISTILLED_LORA},
            links={"model": (model, 0)},
            models=_models((DISTILLED_LORA, "loras")),
        ),
        "stage_2": _stage(
            2,
            316,
            {"latent": ("upscale", 0), "model": ("distilled", 0), **shown},
            schedule="refine",
            stage=2,
            keep_sound=True,
        ),
        **_results(DEV_MODEL, GEMMA, UPSCALER, DISTILLED_LORA),
    }


def _wired_text_to_video() -> dict[str, Box]:
    given = {
        "lora": Box(
            type="LTX2LoadLora",
            **_in(GIVEN, 0, 102),
            title="LoRA of both stages",
            links={"model": ("model", 0)},
        ),
        "upscaler": _upscaler(176),
    }
    return _guided(PROMPT, given, model="lora", shown={})


def _wired_image_to_video() -> dict[str, Box]:
    given = {
        "picture": Box(type="LoadImage", **_in(GIVEN, 0, 326), widgets={"image": "example.png"}),
        "guide": Box(type="LTX2Guide", **_in(GIVEN, 366, 126), links={"image": ("picture", 0)}),
        "upscaler": _upscaler(584),
    }
    shown = {"guides": ("guide", 0), "video_vae": ("video_vae", 0)}
    return _guided(PICTURE_PROMPT, given, model="model", shown=shown)


def _wired_video_to_video() -> dict[str, Box]:
    """Return a distilled checkpoint with an IC-LoRA in the first stage only."""
    return {
        **_loaders(MODEL),
        **_text_and_size(CLIP_PROMPT),
        "clip": Box(type="LoadVideo", **_in(GIVEN, 0, 310), widgets={"file": "reference.mp4"}),
        "ic_lora": Box(
            type="LTX2ICLora",
            **_in(GIVEN, 356, 186),
            widgets={"lora_name": IC_LORA},
            links={"model": ("model", 0), "video": ("clip", 0)},
            models=_models((IC_LORA, "loras")),
        ),
        "upscaler": _upscaler(616),
        "stage_1": _stage(
            1,
            0,
            {
                "latent": ("empty", 0),
                "model": ("ic_lora", 0),
                "guides": ("ic_lora", 1),
                "video_vae": ("video_vae", 0),
            },
            schedule="distilled",
        ),
        "upscale": _upscale(),
        "stage_2": _stage(
            2,
            138,
            {"latent": ("upscale", 0), "model": ("model", 0)},
            schedule="refine",
            stage=2,
        ),
        **_results(MODEL, GEMMA, UPSCALER, IC_LORA),
    }


#: File name -> boxes, the widgets of App mode's form, the boxes whose results it shows.
FORM = (
    ("prompt", "prompt"), ("size", "aspect_ratio"), ("size", "resolution"), ("size", "duration"),
    ("generate", "recipe"), ("generate", "seed"), ("generate", "audio"),
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
