"""Run by a ComfyUI's own Python inside its folder: moves toy parts through its memory management.

Usage: python inside_comfyui.py <root of this repository>. Prints one JSON object as its last line.
"""

import importlib.util
import json
import logging
import sys
from pathlib import Path

ROOT = Path(sys.argv[1])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(Path.cwd()))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import torch  # noqa: E402
from comfy import model_management  # noqa: E402

spec = importlib.util.spec_from_file_location(
    "ltx2_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
)
assert spec and spec.loader
pack = importlib.util.module_from_spec(spec)
sys.modules["ltx2_pack"] = pack
spec.loader.exec_module(pack)

from ltx2_pack.ltx_core.checkpoint.part import Part  # noqa: E402
from ltx2_pack.nodes.host import memory, progress  # noqa: E402


class Lines(logging.Handler):
    """Keeps our own lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("[LTX-2]"):
            self.lines.append(record.getMessage())


def toy(role: str) -> Part[torch.nn.Linear]:
    weights = {"weight": torch.full((4, 4), 2.0), "bias": torch.ones(4)}
    network = torch.nn.Linear(4, 4, device="meta")
    return Part(network, weights, role=role, source=f"{role}.safetensors")


lines = Lines()
logging.getLogger("ltx2_pack").addHandler(lines)
logging.getLogger("ltx2_pack").setLevel(logging.INFO)
found: dict[str, object] = {}
text, transformer, decoder = toy("text_encoder"), toy("transformer"), toy("video_decoder")
with memory.place(text, activation_bytes=1000) as network:
    found["text"] = network(torch.ones(1, 4)).tolist()
with memory.place(transformer) as network, memory.place(decoder) as other:
    found["transformer"] = network(torch.ones(1, 4)).tolist()
    found["decoder"] = other(torch.ones(1, 4)).tolist()
with memory.place(transformer):
    pass
found["loaded"] = [type(model).__name__ for model in model_management.loaded_models()]
with memory.place(decoder):
    model_management.unload_all_models()
    found["decoder computes on"] = str(decoder.device)
found["all rest"] = [part.device is None for part in (text, transformer, decoder)]
del text, transformer, decoder, network, other

coming = toy("transformer")
model_management.interrupt_current_processing()
try:
    with memory.place(coming):
        pass
except BaseException as error:  # noqa: BLE001  its class differs between versions
    found["cancelled while it came"] = [type(error).__name__, coming.device is None]
with memory.place(coming) as network:
    found["came after all"] = network(torch.ones(1, 4)).tolist()
del coming, network

progress.check()
model_management.interrupt_current_processing()
try:
    progress.check()
except BaseException as error:  # noqa: BLE001  its class differs between versions
    found["cancelled"] = type(error).__name__
found["free"] = memory.free_bytes() > 0
found["lines"] = lines.lines
print(json.dumps(found))  # noqa: T201
