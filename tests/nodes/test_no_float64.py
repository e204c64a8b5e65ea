"""No float64 tensor in whole runs: many accelerators have none.

Everything runs on the processor here, so a float64 tensor anywhere counts, except in the one place
that says of itself that it computes on the processor: the sampler res_2s and its noise.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ltx2_pack.ltx_core import latents
from ltx2_pack.ltx_core.sampling import noise, res_2s, steps
from no_float64 import NoFloat64
from studio import T2V, TASKS, NewStudio, Studio
from torch import Tensor
from torch.utils._pytree import tree_leaves

#: Functions of a stream, and of a state, whoever calls them.
HELPERS = {latents.__file__, steps.__file__}
FIRST = "Stage 1, half size"


@pytest.mark.parametrize("workflow", TASKS)
def test_shipped_workflows_make_no_float64_tensor(studio: Studio, workflow: str) -> None:
    prompt, wired = studio.prompt(workflow), studio.prompt(f"{workflow}, wired", f"{FIRST}.steps=2")
    with NoFloat64():
        studio.runner.run(prompt)
        studio.runner.run(wired)
    assert len(studio.written()) == 2


def test_the_older_generation_and_its_guidance_make_none(
    new_studio: NewStudio, models_20: Path
) -> None:
    studio = new_studio(models_20)
    files = ["unet_name=ltx-2-19b-dev.safetensors", "upscale_model=auto", "steps=2"]
    prompt = studio.prompt(T2V, "recipe=pro", *files)
    with NoFloat64():
        studio.runner.run(prompt)
    assert len(studio.written()) == 1


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [
        ("euler_ancestral", "ltx2"),
        ("gradient_estimation", "beta"),
        ("euler_cfg_pp", "linear_quadratic"),
    ],
)
def test_samplers_and_schedules_make_none(studio: Studio, sampler: str, schedule: str) -> None:
    names = {"sampler": sampler, "schedule": schedule, "steps": "3"}
    settings = (f"{FIRST}.{name}={value}" for name, value in names.items())
    prompt = studio.prompt(f"{T2V}, wired", *settings)
    (end,) = (key for key, node in prompt.items() if node["class_type"] == "LTX2SpatialUpscale")
    latent = prompt[end]["inputs"]["latent"]
    short = {key: node for key, node in prompt.items() if node["class_type"] != "LTX2SaveVideo"} | {
        "end": {"class_type": "PreviewAny", "inputs": {"source": latent}}
    }
    with NoFloat64():
        studio.runner.run(short)


class OnlyInside(NoFloat64):
    """Lets functions of some modules use float64, and the small helpers they call."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.files = {module.__file__ for module in modules}
        self.used = 0

    def allowed(self) -> bool:
        """Say whether the innermost function of the core, helpers aside, may use float64."""
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if "ltx_core" in file and file not in HELPERS:
                return file in self.files
            frame = frame.f_back
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not self.allowed():
            return super().__torch_dispatch__(func, types, args, kwargs)
        out = func(*args, **(kwargs or {}))
        found = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.used += any(tensor.dtype == torch.float64 for tensor in found)
        return out


def test_res_2s_alone_uses_it(studio: Studio) -> None:
    settings = (f"{FIRST}.sampler=res_2s", f"{FIRST}.steps=2")
    prompt = studio.prompt(f"{T2V}, wired", *settings)
    with OnlyInside(res_2s, noise) as mode:
        studio.runner.run(prompt)
    assert mode.used > 0
