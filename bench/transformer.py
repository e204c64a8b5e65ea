"""Times our transformer beside diffusers' on the same random weights, in one process, in turns.

    python bench/transformer.py --device cpu
    python bench/transformer.py --device cuda
    python bench/transformer.py --device cpu --sizes tiny --runs 1   # the same path, in seconds

On the CPU a forward is measured in processor time, so that neighbours count little; on a GPU in
its own time, and beside it stands the share of the rate of one large matrix product that the
forward reached. The last line is one JSON object; `ratio` is our seconds by diffusers' seconds.
"""

import argparse
import importlib.metadata
import json
import statistics
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import conftest  # noqa: F401  opens the checkout as `ltx2_pack`
from diffusers import LTX2VideoTransformer3DModel
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.grid import VideoShape, audio_latent_frames
from ltx2_pack.ltx_core.ops.native import native
from ltx2_pack.ltx_core.transformer.config import TransformerConfig
from ltx2_pack.ltx_core.transformer.inputs import StreamInput
from ltx2_pack.ltx_core.transformer.keys import from_diffusers
from ltx2_pack.ltx_core.transformer.model import Transformer
from ltx2_pack.ltx_core.transformer.positions import audio_positions, video_positions

FRAME_RATE = 24.0
SIGMA = 0.7


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """One model and one clip."""

    name: str
    num_layers: int
    num_heads: int
    head_dim: int
    audio_head_dim: int
    clip: VideoShape
    audio_tokens: int
    text_tokens: int
    channels: int = 128

    @property
    def video_tokens(self) -> int:
        """Number of video tokens."""
        return self.clip.latent().tokens


def full(width: int, height: int, frames: int) -> Sizes:
    """Return the size of the 2.3 checkpoints."""
    return Sizes(
        name=f"{width}x{height}x{frames}",
        num_layers=48, num_heads=32, head_dim=128, audio_head_dim=64,
        clip=VideoShape(frames, height, width),
        audio_tokens=audio_latent_frames(frames, FRAME_RATE), text_tokens=1024,
    )  # fmt: skip


#: 1024 video tokens, 64 audio tokens.
MEDIUM = Sizes(
    name="medium", num_layers=8, num_heads=16, head_dim=64, audio_head_dim=32,
    clip=VideoShape(57, 256, 512), audio_tokens=64, text_tokens=256,
)  # fmt: skip
TINY = Sizes(
    name="tiny", num_layers=2, num_heads=2, head_dim=16, audio_head_dim=8,
    clip=VideoShape(17, 64, 96), audio_tokens=12, text_tokens=8,
)  # fmt: skip
PRESETS = {
    "tiny": (TINY,),
    "medium": (MEDIUM,),
    "full": (full(768, 512, 121), full(1536, 1024, 121)),
}


def our_model(sizes: Sizes, dtype: torch.dtype, device: torch.device) -> Transformer:
    """Build ours with random weights nowhere zero, made on the device."""
    section = {
        "num_layers": sizes.num_layers,
        "num_attention_heads": sizes.num_heads,
        "attention_head_dim": sizes.head_dim,
        "cross_attention_dim": sizes.num_heads * sizes.head_dim,
        "in_channels": sizes.channels,
        "out_channels": sizes.channels,
        "audio_num_attention_heads": sizes.num_heads,
        "audio_attention_head_dim": sizes.audio_head_dim,
        "audio_cross_attention_dim": sizes.num_heads * sizes.audio_head_dim,
        "audio_in_channels": sizes.channels,
        "audio_out_channels": sizes.channels,
        "caption_proj_before_connector": True,
        "cross_attention_adaln": True,
        "apply_gated_attention": True,
        "frequencies_precision": "float64",
        "av_ca_timestep_scale_multiplier": 1000.0,
    }
    config = TransformerConfig.read(Section("transformer", section))
    meta = torch.device("meta")
    model = Transformer(config, layers=native, device=meta, dtype=dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in model.state_dict().items():
        if name.endswith("_norm.weight"):
            weight.normal_(1.0, 0.1, generator=generator)
        else:
            fan_in = weight.shape[-1] if weight.ndim == 2 else 100
            weight.normal_(0.0, fan_in**-0.5, generator=generator)
    return model.eval().requires_grad_(False)


def their_model(sizes: Sizes, ours: Transformer) -> nn.Module:
    """Build diffusers' on the very same tensors."""
    with torch.device("meta"):
        model = LTX2VideoTransformer3DModel(
            in_channels=sizes.channels, out_channels=sizes.channels,
            num_attention_heads=sizes.num_heads, attention_head_dim=sizes.head_dim,
            cross_attention_dim=sizes.num_heads * sizes.head_dim,
            gated_attn=True, cross_attn_mod=True,
            audio_in_channels=sizes.channels, audio_out_channels=sizes.channels,
            audio_num_attention_heads=sizes.num_heads,
            audio_attention_head_dim=sizes.audio_head_dim,
            audio_cross_attention_dim=sizes.num_heads * sizes.audio_head_dim,
            audio_gated_attn=True, audio_cross_attn_mod=True,
            num_layers=sizes.num_layers, rope_type="split", use_prompt_embeddings=False,
            perturbed_attn=True,
        )  # fmt: skip
    weights = ours.state_dict()
    state = {name: weights[from_diffusers(name)] for name in model.state_dict()}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The inputs of both, equal timesteps everywhere."""

    video: StreamInput
    audio: StreamInput


def clip_of(sizes: Sizes, dtype: torch.dtype, device: torch.device) -> Clip:
    """Return random latents and contexts."""
    generator = torch.Generator().manual_seed(1)

    def stream(tokens: int, dim: int, positions: Tensor) -> StreamInput:
        latent = torch.randn(1, tokens, sizes.channels, generator=generator)
        context = torch.randn(1, sizes.text_tokens, dim, generator=generator)
        return StreamInput(
            latent=latent.to(device, dtype),
            sigma=torch.full((1,), SIGMA, device=device),
            timesteps=torch.full((1, tokens, 1), SIGMA, device=device),
            positions=positions.to(device),
            context=context.to(device, dtype),
        )

    heads = sizes.num_heads
    video = video_positions(sizes.clip.latent(), FRAME_RATE)
    audio = audio_positions(sizes.audio_tokens)
    return Clip(
        video=stream(sizes.video_tokens, heads * sizes.head_dim, video),
        audio=stream(sizes.audio_tokens, heads * sizes.audio_head_dim, audio),
    )


def runs_of(sizes: Sizes, ours: Transformer, clip: Clip) -> dict[str, Callable[[], Any]]:
    """Return one forward of each."""
    theirs = their_model(sizes, ours)
    scaled = clip.video.sigma * 1000

    def diffusers() -> Any:
        # As its text-to-video pipeline calls it, and without text masks, which would slow it down.
        return theirs(
            hidden_states=clip.video.latent,
            audio_hidden_states=clip.audio.latent,
            encoder_hidden_states=clip.video.context,
            audio_encoder_hidden_states=clip.audio.context,
            timestep=scaled,
            audio_timestep=scaled,
            sigma=scaled,
            audio_sigma=scaled,
            video_coords=clip.video.positions,
            audio_coords=clip.audio.positions,
            use_cross_timestep=True,
            return_dict=False,
        )

    return {"ours": lambda: ours(clip.video, clip.audio), "diffusers": diffusers}


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """Return processor seconds on the CPU, the device's own seconds elsewhere."""
    if device.type == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages made inside and still alive; `peak` is the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {
            leaf.untyped_storage().data_ptr()
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor)
        }
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                place = storage.data_ptr()
                if place in known or place in self._seen:
                    continue
                self._seen.add(place)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, place, storage.nbytes())
        return out

    def _freed(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.live -= size


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Return the most bytes of tensors beside weights and inputs."""
    if device.type == "cpu":
        with _LiveBytes() as counter:
            run()
        return counter.peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def product_rate(device: torch.device, dtype: torch.dtype, *, side: int, runs: int) -> float:
    """Return the floating-point operations per second of one large square matrix product."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = [seconds_of(lambda: a @ b, device) for _ in range(runs + 2)][2:]
    return 2 * side**3 / statistics.median(times)


def operations(sizes: Sizes) -> float:
    """Return the floating-point operations of one forward with one timestep per stream."""
    dim, audio = sizes.num_heads * sizes.head_dim, sizes.num_heads * sizes.audio_head_dim
    n, m, s = sizes.video_tokens, sizes.audio_tokens, sizes.text_tokens
    block = 2 * n * (14 * dim**2 + 4 * dim * audio) + 36 * m * audio**2
    block += 4 * s * (dim**2 + audio**2) + 6 * sizes.num_heads * (n * dim + m * audio)
    block += 4 * dim * (n * n + n * s) + 4 * audio * (m * m + m * s) + 8 * audio * n * m
    ends = 4 * sizes.channels * (n * dim + m * audio)
    for width in (dim, audio):
        embedder = 256 * width + width**2
        ends += 2 * (2 * embedder + 13 * width**2) + 2 * (embedder + width**2)
        ends += 2 * (embedder + 2 * width**2)
    return sizes.num_layers * block + ends


def versions(device: torch.device) -> dict[str, str]:
    """Return what the numbers were made with."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "diffusers")}
    found["python"] = sys.version.split()[0]
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def compared(
    sizes: Sizes, dtype: torch.dtype, device: torch.device, num_runs: int
) -> dict[str, Any]:
    """Run both in turns and return what was measured."""
    ours = our_model(sizes, dtype, device)
    runs = runs_of(sizes, ours, clip_of(sizes, dtype, device))
    answers = {name: run() for name, run in runs.items()}  # the warm-up, too
    difference = max(
        (a.float() - b.float()).abs().max().item()
        for a, b in zip(answers["ours"], answers["diffusers"], strict=True)
    )
    scale = max(answer.float().abs().max().item() for answer in answers["diffusers"])
    del answers
    peaks = {name: peak_bytes(run, device) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(num_runs):
        for name in sorted(runs, reverse=bool(turn % 2)):
            times[name].append(seconds_of(runs[name], device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    side = {"tiny": 256, "medium": 1024}.get(sizes.name, 8192)
    rate = product_rate(device, dtype, side=side, runs=max(3, num_runs))
    return {
        "sizes": {**asdict(sizes), "video_tokens": sizes.video_tokens},
        "dtype": str(dtype).removeprefix("torch."),
        "ratio": statistics.median(
            a / b for a, b in zip(times["ours"], times["diffusers"], strict=True)
        ),
        "seconds": medians,
        "peak_bytes": peaks,
        "max_difference": difference,
        "largest_value": scale,
        "product_rate": rate,
        "share_of_rate": {name: operations(sizes) / s / rate for name, s in medians.items()},
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the measurements for people."""
    lines = [
        f"{'sizes':>14} {'dtype':>9} {'':>10} {'seconds':>9} {'share':>6} {'peak MiB':>9} "
        f"{'ratio':>6} {'max difference':>15}"
    ]
    for result in results:
        for name in ("ours", "diffusers"):
            own = name == "ours"
            lines.append(
                f"{result['sizes']['name']:>14} {result['dtype']:>9} {name:>10} "
                f"{result['seconds'][name]:9.4f} {result['share_of_rate'][name]:6.2f} "
                f"{result['peak_bytes'][name] / 2**20:9.1f} "
                + (f"{result['ratio']:6.3f} {result['max_difference']:15.2e}" if own else "")
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments.add_argument("--sizes", choices=tuple(PRESETS))
    arguments.add_argument("--dtype", choices=("float32", "bfloat16"))
    arguments.add_argument("--runs", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=1, help="on the CPU")
    options = arguments.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    names = [options.dtype] if options.dtype else ["float32", "bfloat16"]
    if device.type == "cuda" and not options.dtype:
        names = ["bfloat16"]
    presets = PRESETS[options.sizes or ("medium" if device.type == "cpu" else "full")]
    with torch.inference_mode():
        results = [
            compared(sizes, getattr(torch, name), device, options.runs)
            for sizes in presets
            for name in names
        ]
    print(table(results))
    summary = {
        "what": "transformer",
        "device": options.device,
        "threads": options.threads if device.type == "cpu" else None,
        "runs": options.runs,
        "versions": versions(device),
        "ratio": max(result["ratio"] for result in results),  # the least favourable
        "ratios": {f"{r['sizes']['name']} {r['dtype']}": r["ratio"] for r in results},
        "max_difference": max(result["max_difference"] for result in results),
        "results": results,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
