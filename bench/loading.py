"""Times how a transformer file becomes a network in memory, and the most memory it takes.

    python bench/loading.py                      # about 2 GB
    python bench/loading.py --gigabytes 8 --formats bf16 fp8 --folder /fast/disk

Layers of the 2.3 transformer in full width, as many as fill the size, with random weights. Ways:
`ours`; `safetensors` (`load_file`, then `load_state_dict` into a network that has its memory, with
scales multiplied out first); `diffusers` (`from_pretrained` on the same weights in its names; it
reads neither scaled float8 nor, without the package gguf, GGUF). Each runs in a process of its own.

Columns: seconds until the network is there, and until every weight was read once, which is when
a mapped file is really read; the most memory in use above that of the process before, the weights
of the network in it, and what was needed beside them in units of the largest stored tensor. Files
were just written, so they lie in the system's cache. The last line is one JSON object.
"""

import argparse
import gzip
import importlib.metadata
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import conftest  # noqa: F401  opens the checkout as `ltx2_pack`
from gguf_files import PLAIN, Q8_0, aligned, field, header, info, q8_0
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.ops.quantized import quantized
from ltx2_pack.ltx_core.transformer.keys import DIFFUSERS
from ltx2_pack.ltx_core.transformer.load import transformer_part
from safetensors.torch import load_file, save_file

TESTS = Path(__file__).resolve().parents[1] / "tests"
PREFIX = "model.diffusion_model."
MANIFEST = TESTS / "manifests" / "transformer_2.3_22b.json.gz"
SUFFIXES = {"bf16": "safetensors", "fp8": "safetensors", "gguf-q8_0": "gguf"}
SAID = {"model_version": "2.3.0"}
OFFICIAL = {official: theirs for theirs, official in DIFFUSERS.items()}


def shapes_for(gigabytes: float) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a transformer that takes at least so many GB in bfloat16."""
    whole = json.loads(gzip.decompress(MANIFEST.read_bytes()))
    named = {key.removeprefix(PREFIX): tuple(shape) for key, shape in whole.items()}
    block = {k: s for k, s in named.items() if k.startswith("transformer_blocks.0.")}
    outside = {k: s for k, s in named.items() if not k.startswith("transformer_blocks.")}
    size = {part: 2e-9 * sum(map(math.prod, shapes.values()))
            for part, shapes in (("block", block), ("outside", outside))}  # fmt: skip
    count = max(1, math.ceil((gigabytes - size["outside"]) / size["block"]))
    blocks = {k.replace(".0.", f".{n}.", 1): s for n in range(count) for k, s in block.items()}
    return {**outside, **blocks}


def random_weights(shapes: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, Tensor]]:
    """Yield weights one at a time: nowhere zero, tables in float32, all else in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    for name, shape in shapes.items():
        weight = torch.rand(shape, generator=generator).mul_(0.02).sub_(0.01)
        yield name, weight if "scale_shift_table" in name else weight.bfloat16()


def is_packed(name: str, shape: tuple[int, ...]) -> bool:
    """Say whether converters quantise a weight: the large matrices of blocks."""
    return name.startswith("transformer_blocks.") and len(shape) == 2 and shape[0] >= 1024


def write(path: Path, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write the weights in a format."""
    if kind == "gguf-q8_0":
        _write_gguf(path, shapes)
        return
    tensors: dict[str, Tensor] = {}
    for name, weight in random_weights(shapes):
        if kind == "fp8" and is_packed(name, tuple(weight.shape)) and name.endswith(".weight"):
            scale = weight.abs().max().float() / 448
            tensors[f"{PREFIX}{name}_scale"] = scale
            weight = (weight / scale).to(torch.float8_e4m3fn)
        key = theirs(name) if kind == "diffusers" else f"{PREFIX}{name}"
        tensors[key] = weight
    save_file(tensors, path, {"format": "pt"} if kind == "diffusers" else SAID)


def theirs(name: str) -> str:
    """Return diffusers' name for an official one."""
    return ".".join(OFFICIAL.get(part, part) for part in name.split("."))


def _write_gguf(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    infos, at = [], 0
    for name, shape in shapes.items():
        packed = is_packed(name, shape) and name.endswith(".weight")
        dtype = torch.float32 if "scale_shift_table" in name else torch.bfloat16
        infos.append(info(name, shape, Q8_0 if packed else PLAIN[dtype], at))
        size = math.prod(shape)
        at += aligned(size // 32 * 34 if packed else size * dtype.itemsize)
    fields = [field("general.architecture", "ltxv"), field("model_version", "2.3.0")]
    start = header(fields, infos)
    with path.open("wb") as file:
        file.write(start.ljust(aligned(len(start)), b"\0"))
        for name, weight in random_weights(shapes):
            packed = is_packed(name, tuple(weight.shape)) and name.endswith(".weight")
            raw = weight.reshape(-1).view(torch.uint8)
            stored = q8_0(weight) if packed else raw.numpy().tobytes()
            file.write(stored.ljust(aligned(len(stored)), b"\0"))


def ours(path: Path) -> nn.Module:
    """Load as the nodes do: packed weights stay packed."""
    part = transformer_part(open_weights(path), layers=quantized)
    return part.lay_out(torch.device("cpu"), dtype=torch.bfloat16)


def by_safetensors(path: Path) -> nn.Module:
    """Load all tensors at once, multiply scales out, and copy them into a network."""
    stored = load_file(path)
    for key in [key for key in stored if key.endswith(".weight_scale")]:
        weight = key.removesuffix("_scale")
        stored[weight] = (stored[weight].float() * stored.pop(key)).bfloat16()
    named = {key.removeprefix(PREFIX): tensor for key, tensor in stored.items()}
    shapes = Weights(
        path.name, dict.fromkeys(named, torch.empty(0)), SAID,
        shapes={key: tuple(tensor.shape) for key, tensor in named.items()},
    )  # fmt: skip
    network = transformer_part(shapes).network.to(torch.bfloat16).to_empty(device="cpu")
    network.load_state_dict(named)
    return network


def by_diffusers(path: Path) -> nn.Module:
    """Load with diffusers' own loader, from a folder."""
    from diffusers import LTX2VideoTransformer3DModel

    return LTX2VideoTransformer3DModel.from_pretrained(path.parent, torch_dtype=torch.bfloat16)


def write_diffusers_folder(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """Write the weights in diffusers' names, with the config of the 2.3 model."""
    folder.mkdir()
    blocks = {name.split(".")[1] for name in shapes if name.startswith("transformer_blocks.")}
    config = {
        "_class_name": "LTX2VideoTransformer3DModel", "num_layers": len(blocks),
        "gated_attn": True, "cross_attn_mod": True, "audio_gated_attn": True,
        "audio_cross_attn_mod": True, "use_prompt_embeddings": False, "rope_type": "split",
        "perturbed_attn": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "diffusion_pytorch_model.safetensors"
    write(path, "diffusers", shapes)
    return path


WAYS: dict[str, Callable[[Path], nn.Module]] = {
    "ours": ours, "safetensors": by_safetensors, "diffusers": by_diffusers,
}  # fmt: skip


def measure(way: str, path: Path) -> dict[str, float]:
    """Load in this process, and return what it took; sizes in bytes."""
    before = _memory("VmRSS")
    start = time.perf_counter()
    with torch.no_grad():
        network = WAYS[way](path)
        loaded = time.perf_counter()
        storages = [tensor.untyped_storage() for tensor in _tensors(network)]
        held = {storage.data_ptr(): storage for storage in storages if storage.nbytes()}
        for storage in held.values():
            torch.tensor([], dtype=torch.uint8).set_(storage).max()
    used = time.perf_counter()
    peak = _memory("VmHWM") - before
    return {
        "seconds": loaded - start,
        "seconds_read": used - start,
        "peak_bytes": peak,
        "weight_bytes": sum(storage.nbytes() for storage in held.values()),
    }


def _tensors(network: nn.Module) -> Iterable[Tensor]:
    yield from (tensor for tensor in network.state_dict().values() if not tensor.is_meta)
    for module in network.modules():
        packed = getattr(module, "packed", None)
        yield from packed.tensors.values() if packed is not None else ()


def _memory(name: str) -> int:
    """Return a number of bytes the system keeps on this process.

    Not `ru_maxrss`: on Linux it starts from that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def in_its_own_process(way: str, path: Path) -> dict[str, float]:
    """Return what `measure` says in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--file", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def row(kind: str, way: str, found: Mapping[str, float]) -> str:
    """Return one line of the table."""
    peak, weights = found["peak_bytes"] / 1e9, found["weight_bytes"] / 1e9
    return (
        f"{kind:10} {way:12} {found['seconds']:8.2f} {found['seconds_read']:8.2f} "
        f"{peak:8.2f} {weights:8.2f} {found['beside_in_largest']:8.2f}"
    )


def main() -> None:
    """Write the files, load them in every way, print the table and the JSON object."""
    parser = argparse.ArgumentParser(description="Times the loading of a transformer file.")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size in bfloat16")
    parser.add_argument("--formats", nargs="+", choices=SUFFIXES, default=[*SUFFIXES])
    parser.add_argument("--folder", type=Path, help="where the files are written and deleted")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.file)))
        return
    shapes = shapes_for(options.gigabytes)
    results: list[dict[str, Any]] = []
    print(f"{'format':10} {'way':12} {'seconds':>8} {'+ read':>8} "
          f"{'peak GB':>8} {'weights':>8} {'beside':>8}")  # fmt: skip
    for kind in options.formats:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / f"transformer.{SUFFIXES[kind]}"
            write(path, kind, shapes)
            weights = open_weights(path)
            largest = max(weights.entry(key).bytes for key in weights)
            ways = {"ours": path}
            if kind != "gguf-q8_0":
                ways["safetensors"] = path
            if kind == "bf16":
                ways["diffusers"] = write_diffusers_folder(Path(folder) / "diffusers", shapes)
            for way, file in ways.items():
                found = in_its_own_process(way, file)
                beside = found["peak_bytes"] - found["weight_bytes"]
                found |= {"beside_in_largest": beside / largest}
                results.append({"format": kind, "way": way, "largest_bytes": largest, **found})
                print(row(kind, way, found), flush=True)
    packages = ("torch", "safetensors", "diffusers")
    print(json.dumps({
        "what": "loading", "gigabytes": options.gigabytes,
        "python": sys.version.split()[0],
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "results": results,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
