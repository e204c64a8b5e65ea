"""From a prompt to frames and sound: the recorded runs come out of the shipped wired workflows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.audio_vae.sound import decode_mel
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from PIL import Image
from recorded import Graph, check, guidance_of, size_of

WORKFLOWS = {
    "guided_two_stage": "LTX-2 1 Text to video, wired",
    "distilled_two_stage": "LTX-2 1 Text to video, wired",
    "i2v_two_stage": "LTX-2 2 Image to video, wired",
}


def built(golden: Golden) -> bool:
    """2.5 needs Gemma 4 and its own VAE, which are not built."""
    return golden.case.get("part") == "recipe" and golden.case["generation"] in ("2.0", "2.3")


def models_of(golden: Golden, folder: Path) -> dict[str, str]:
    """Lay a case's files out like ComfyUI's models; return the widgets that name them."""
    files = json.loads(golden.metadata["files"])
    places = {
        "checkpoint": "checkpoints",
        "gemma": "text_encoders",
        "upscaler": "latent_upscale_models",
        "distilled_lora": "loras",
    }
    for role, place in places.items():
        source, target = golden.path.parent / files[role], folder / place / files[role]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return {
        "unet_name": files["checkpoint"],
        "video_vae": files["checkpoint"],
        "audio_vae": files["checkpoint"],
        "clip_name": files["gemma"],
        "upscale_model": files["upscaler"],
        "LoRA of stage 2.lora_name": files["distilled_lora"],
    }


def graph_of(golden: Golden, folder: Path) -> Graph:
    case = golden.case
    models = folder / "models"
    values = models_of(golden, models)
    guided = "video_guider" in case
    graph = Graph(WORKFLOWS[case["recipe"]], models, folder)
    values |= size_of(case) | guidance_of(case)
    values |= {
        "prompt": case["prompt"],
        "negative_prompt": case.get("negative_prompt", ""),
        "noise": "official",
        "seed": case["seed"],
        "Stage 1, half size.schedule": "ltx2" if guided else "distilled",
        "Stage 1, half size.steps": case.get("num_inference_steps", 0),
        "Stage 2, full size.keep_sound": str(case["audio_of"] == "stage 1").lower(),
        "LoRA of stage 2.strength": case.get("distilled_lora_strength", 0.0),
    }
    if case["recipe"] == "i2v_two_stage":
        (guide,) = case["images"]
        picture = golden.tensors("in.")["image"].numpy().astype(np.uint8)
        Image.fromarray(picture).save(graph.host.input / "picture.png")
        values |= {
            "image": "picture.png",
            "LTX-2 Guide.strength": guide["strength"],
            "compression": guide["crf"],
            "time": guide["frame_idx"] / case["frame_rate"],
        }
    graph.set(values)
    return graph


@pytest.mark.parametrize("golden", cases("whole", built))
def test_the_recorded_run_comes_out_of_the_shipped_workflow(golden: Golden, tmp_path: Path):
    graph = graph_of(golden, tmp_path)
    graph.catch("Stage 1, half size", 0, "stage1")
    graph.catch("LTX-2 Spatial Upscale", 0, "upscaled")
    graph.catch("Stage 2, full size", 0, "final")
    graph.catch("LTX-2 Decode Video", 1, "frames")
    graph.catch("LTX-2 Decode Audio", 0, "sound")
    graph.catch("LTX-2 Load Audio VAE", 0, "audio_vae")
    kept = graph.run()

    limits = json.loads(golden.metadata["tolerances"])
    step = golden.case["frames_stride"]
    with place_on_cpu(kept["audio_vae"].decoder) as decoder:
        mel = decode_mel(decoder, kept["final"].audio)
    found = {
        "stage1.video": kept["stage1"].video,
        "stage1.audio": kept["stage1"].audio,
        "upsampled.video": kept["upscaled"].video,
        "final.video": kept["final"].video,
        "final.audio": kept["final"].audio,
        "mel": mel,
        "waveform": kept["sound"]["waveform"][0],
        "frames": kept["frames"][:: step[0], :: step[1], :: step[2]],
    }
    for name, actual in found.items():
        check(golden, name, actual, limits[f"out.{name}"])
    assert kept["sound"]["sample_rate"] == golden.case["audio_sampling_rate"]
    written = [*graph.host.output.rglob("*.mp4")]
    assert len(written) == 1


def test_the_comparison_would_notice_another_prompt(tmp_path: Path):
    goldens = [
        param.values[0]
        for param in cases("whole", built)
        if param.values[0].case["recipe"] == "guided_two_stage"
    ]
    golden = goldens[0]
    graph = graph_of(golden, tmp_path)
    graph.set({"prompt": golden.case["prompt"] + "!"})
    graph.catch("Stage 1, half size", 0, "stage1")
    video = graph.run()["stage1"].video
    limit = json.loads(golden.metadata["tolerances"])["out.stage1.video"]
    assert (video - golden.tensors("out.")["stage1.video"]).abs().max() > 10 * limit
    assert torch.isfinite(video).all()
