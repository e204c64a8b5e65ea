"""Runs a shipped workflow in this process and keeps what flows through chosen sockets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from golden import Golden
from ltx2_pack.headless.convert import to_api
from ltx2_pack.headless.core_nodes import NODES as CORE_NODES
from ltx2_pack.headless.runner import Runner
from ltx2_pack.headless.settings import with_settings
from ltx2_pack.nodes import all_nodes
from ltx2_pack.nodes.host.api import io
from ltx2_pack.nodes.host.standin.host import Host

ROOT = Path(__file__).resolve().parents[2]


def catcher(kept: dict[str, Any]) -> type[io.ComfyNode]:
    """An output node that puts what it gets into `kept`, under the name it is given."""

    class Catch(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id="TestCatch",
                is_output_node=True,
                inputs=[io.AnyType.Input("value"), io.String.Input("name")],
            )

        @classmethod
        def execute(cls, value: Any, name: str) -> io.NodeOutput:
            kept[name] = value
            return io.NodeOutput()

    return Catch


class Graph:
    """A shipped workflow with values put in through its widgets."""

    def __init__(self, name: str, models: Path, folder: Path) -> None:
        self.kept: dict[str, Any] = {}
        host = Host(
            models=(models,),
            input=folder / "input",
            output=folder / "output",
            temp=folder / "temp",
            device=torch.device("cpu"),
        )
        host.input.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.runner = Runner([*CORE_NODES, *all_nodes(), catcher(self.kept)], host)
        workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))
        self.prompt = to_api(workflow, self.runner.infos())

    def set(self, values: Mapping[str, Any]) -> None:
        """Put in values as `--set` does."""
        texts = [f"{name}={value}" for name, value in values.items()]
        self.prompt = with_settings(self.prompt, self.runner.infos(), texts)

    def id_of(self, title: str) -> str:
        """The node of a title."""
        found = [key for key, node in self.prompt.items() if node["_meta"]["title"] == title]
        assert len(found) == 1, f"{title}: {found}"
        return found[0]

    def catch(self, title: str, output: int, name: str) -> None:
        """Keep what a node gives."""
        link = [self.id_of(title), output]
        self.prompt[f"catch {name}"] = {
            "class_type": "TestCatch",
            "inputs": {"value": link, "name": name},
            "_meta": {"title": name},
        }

    def run(self) -> dict[str, Any]:
        """Run everything; return what was kept."""
        self.runner.run(self.prompt)
        return self.kept


def guidance_of(case: dict[str, Any]) -> dict[str, Any]:
    """The widgets of LTX-2 Guidance for the guiders of a case; neutral ones if it has none."""
    neutral = {"cfg_scale": 1, "stg_scale": 0, "rescale_scale": 0, "modality_scale": 1}
    values: dict[str, Any] = {}
    for stream in ("video", "audio"):
        guider = case.get(f"{stream}_guider") or neutral
        values |= {
            f"{stream}_cfg": guider["cfg_scale"],
            f"{stream}_stg": guider["stg_scale"],
            f"{stream}_rescale": guider["rescale_scale"],
            f"{stream}_modality": guider["modality_scale"],
        }
        if "stg_blocks" in guider:
            values["stg_blocks"] = ", ".join(map(str, guider["stg_blocks"])) or "auto"
            values["skip_step"] = guider["skip_step"]
    return values


def size_of(case: dict[str, Any]) -> dict[str, Any]:
    """The widgets of LTX-2 Size for a case."""
    return {
        "aspect_ratio": "custom",
        "width": case["width"],
        "height": case["height"],
        "duration": case["num_frames"] / case["frame_rate"],
        "frame_rate": case["frame_rate"],
    }


def check(golden: Golden, name: str, actual: torch.Tensor, tolerance: float) -> None:
    """Compare one recorded output."""
    expected = golden.tensors("out.")[name]
    torch.testing.assert_close(actual.float(), expected.float(), rtol=0, atol=tolerance)
