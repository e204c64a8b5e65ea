"""The recorded sampling runs come out of the shipped wired workflow, with loaded contexts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.sampling.context import PromptContext, save_pair
from ltx2_pack.ltx_core.text.context import TextContext
from recorded import Graph, check, guidance_of, size_of
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

WORKFLOW = "LTX-2 1 Text to video, wired"
TRANSFORMER = "model.diffusion_model."


def generation_of(golden: Golden) -> str:
    """Files without a version are of 2.0."""
    return golden.metadata.get("model_version", "2.0")[:3]


def of_single_files(golden: Golden) -> bool:
    """2.0 and 2.3 are published as single files, which the loaders read."""
    return generation_of(golden) in ("2.0", "2.3")


def weights_of(golden: Golden) -> dict[str, Tensor]:
    """Every weight of a case and of the files it names, in float32."""
    found: dict[str, Tensor] = {}
    for name in json.loads(golden.metadata["weights_from"]):
        with safe_open(golden.path.with_name(name), framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                if key.startswith("weights."):
                    found[key.removeprefix("weights.")] = file.get_tensor(key).float()
    return found


def write_models(golden: Golden, models: Path) -> dict[str, str]:
    """Write an official-layout file with the case's transformer and statistics, and its LoRAs.

    What the case does not hold (the rest of the autoencoders, the text parts) is tiny and random.
    """
    generation = generation_of(golden)
    files = write_tiny_models(models, generation)
    checkpoint = files["checkpoint"]
    weights = weights_of(golden)
    with safe_open(checkpoint, framework="pt") as file:
        config = json.loads(file.metadata()["config"]) | golden.config
        tensors = {
            key: file.get_tensor(key).float()
            for key in file.keys()  # noqa: SIM118
            if not key.startswith(TRANSFORMER) or "embeddings_connector" in key
        }
    tensors |= {k: v for k, v in weights.items() if k.startswith((TRANSFORMER, "vae."))}
    stated = {} if generation == "2.0" else {"model_version": golden.metadata["model_version"]}
    save_file(tensors, checkpoint, {"config": json.dumps(config), **stated})

    upscaler = {k: v for k, v in weights.items() if not k.startswith((TRANSFORMER, "vae."))}
    with safe_open(upscaler_source(golden), framework="pt") as file:
        layout = json.loads(file.metadata()["config"])
    target = models / "latent_upscale_models" / "recorded.safetensors"
    save_file(upscaler, target, {"config": json.dumps(layout)})
    loras: dict[str, dict[str, Tensor]] = {}
    for key, tensor in golden.tensors("lora.").items():
        name, _, rest = key.partition(".")
        loras.setdefault(name, {})[rest] = tensor
    for name, pairs in loras.items():
        save_file(pairs, models / "loras" / f"{name}.safetensors")
    return {
        "unet_name": checkpoint.name,
        "video_vae": checkpoint.name,
        "audio_vae": checkpoint.name,
        "upscale_model": target.name,
    }


def upscaler_source(golden: Golden) -> Path:
    return golden.path.with_name(
        next(n for n in json.loads(golden.metadata["weights_from"]) if "upsampler" in n)
    )


def write_context(golden: Golden, path: Path) -> None:
    inputs = golden.tensors("in.context.")

    def side(name: str) -> TextContext | None:
        if f"video.{name}" not in inputs:
            return None
        video, audio = inputs[f"video.{name}"], inputs[f"audio.{name}"]
        return TextContext(
            video=video,
            audio=audio,
            generation=generation_of(golden),
            prompt=name,
            source="recorded",
        )

    positive = side("pos")
    assert positive is not None
    save_pair(path, PromptContext(positive=positive, negative=side("neg")))


def lora_values(case: dict[str, Any]) -> dict[str, Any]:
    """The widgets of both LoRA nodes: what stage 1 has, and what stage 2 has more."""
    stages = case.get("loras", {"stage1": [], "stage2": []})
    more = [lora for lora in stages["stage2"] if lora not in stages["stage1"]]
    values: dict[str, Any] = {}
    for title, loras in (("both stages", stages["stage1"]), ("stage 2", more)):
        assert len(loras) < 2
        name, strength = loras[0] if loras else ("none", 1.0)
        values[f"LoRA of {title}.lora_name"] = f"{name}.safetensors" if loras else "none"
        values[f"LoRA of {title}.strength"] = strength
    return values


@pytest.mark.parametrize(
    "golden", [*cases("two_stage", of_single_files), *cases("distilled", of_single_files)]
)
def test_the_recorded_latents_come_out_of_the_wired_workflow(golden: Golden, tmp_path: Path):
    case = golden.case
    models = tmp_path / "models"
    values = write_models(golden, models)
    graph = Graph(WORKFLOW, models, tmp_path)
    write_context(golden, graph.host.input / "context.safetensors")
    encode = graph.id_of("LTX-2 Encode Prompt")
    graph.prompt[encode] = {
        "class_type": "LTX2LoadContext",
        "inputs": {"context_file": "context.safetensors"},
        "_meta": {"title": "LTX-2 Load Prompt Context"},
    }
    guided = "video_guider" in case
    graph.set(
        values
        | size_of(case)
        | guidance_of(case)
        | lora_values(case)
        | {
            "seed": case["seed"],
            "noise": "official",
            "Stage 1, half size.schedule": "ltx2" if guided else "distilled",
            "Stage 1, half size.steps": case.get("num_inference_steps", 0),
            "Stage 2, full size.keep_sound": str(guided).lower(),
        }
    )
    graph.catch("Stage 1, half size", 0, "stage1")
    graph.catch("LTX-2 Spatial Upscale", 0, "upscaled")
    graph.catch("Stage 2, full size", 0, "final")
    kept = graph.run()

    expected = golden.tensors("out.")
    check(golden, "upsampled.0", kept["upscaled"].video, golden.tolerance)
    for stream in ("video", "audio"):
        check(golden, f"final.{stream}", getattr(kept["final"], stream), golden.tolerance)
        if f"stage1.{stream}.latent" in expected:
            actual = getattr(kept["stage1"], stream)
            check(golden, f"stage1.{stream}.latent", actual, golden.tolerance)
    drawn = golden.tensors("in.noise.")
    generator = torch.Generator().manual_seed(case["seed"])
    for name in case["noise_order"]:
        noise = drawn[name.removeprefix("in.noise.")]
        assert torch.equal(torch.randn(noise.shape, generator=generator), noise)
