"""Prompts: read once, written to files and read back."""

import resource
from pathlib import Path

import pytest
import torch
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.sampling.context import (
    ContextCache,
    PromptContext,
    encode_pair,
    load_pair,
    save_pair,
)
from ltx2_pack.ltx_core.text.context import TextContext
from ltx2_pack.ltx_core.text.encoder import TextEncoder
from ltx2_pack.ltx_core.text.load import text_encoder
from ltx2_pack.ltx_core.text.tokenizer import CONTEXT_LENGTH
from safetensors.torch import save_file


def context(prompt: str = "a cat", dtype: torch.dtype = torch.bfloat16) -> TextContext:
    return TextContext(
        video=torch.randn(1, 16, 6).to(dtype),
        audio=torch.randn(1, 16, 4).to(dtype),
        generation="2.3",
        prompt=prompt,
        source="gemma, checkpoint",
    )


def pair(prompt: str = "a cat") -> PromptContext:
    return PromptContext(positive=context(prompt), negative=context("a dog", torch.float32))


@pytest.mark.parametrize("prompt", ["a cat", "", "24", "null", '{"a": 1}', '"quoted"\n日本語 😀'])
def test_what_is_saved_comes_back(tmp_path: Path, prompt: str) -> None:
    saved, path = pair(prompt), tmp_path / "sub" / "a.safetensors"
    save_pair(path, saved)
    loaded = load_pair(path)
    for side in ("positive", "negative"):
        one, other = getattr(saved, side), getattr(loaded, side)
        assert torch.equal(one.video, other.video) and one.video.dtype == other.video.dtype
        assert torch.equal(one.audio, other.audio)
        assert (other.prompt, other.generation) == (one.prompt, "2.3")
        assert other.source == "a.safetensors"
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_a_prompt_without_a_negative_one_stays_without(tmp_path: Path) -> None:
    save_pair(tmp_path / "a.safetensors", PromptContext(positive=context()))
    assert load_pair(tmp_path / "a.safetensors").negative is None


def test_saving_over_a_loaded_context_leaves_the_loaded_one_alone(tmp_path: Path) -> None:
    first, path = pair(), tmp_path / "a.safetensors"
    save_pair(path, first)
    loaded = load_pair(path)
    save_pair(path, pair())
    assert torch.equal(loaded.positive.video, first.positive.video)


def test_streams_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    both = torch.randn(1, 16, 6)
    one = TextContext(video=both, audio=both, generation="2.0")
    save_pair(tmp_path / "a.safetensors", PromptContext(positive=one, negative=one))
    assert torch.equal(load_pair(tmp_path / "a.safetensors").positive.audio, both)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"weight": torch.ones(2)}, {}),
        ({"positive.video": torch.ones(1, 4, 4)}, {"format": "pt"}),
        (
            {"positive.video": torch.ones(1, 4, 4)},
            {"format": "ltx2_prompt_context", "prompts": '{"positive": ""}'},
        ),
        (
            {"positive.video": torch.ones(4), "positive.audio": torch.ones(4)},
            {"format": "ltx2_prompt_context", "prompts": '{"positive": ""}'},
        ),
        (
            {"positive.video": torch.ones(1, 4, 4), "positive.audio": torch.ones(1, 4, 4)},
            {"format": "ltx2_prompt_context", "prompts": "[]"},
        ),
    ],
)
def test_another_file_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    save_file(tensors, tmp_path / "other.safetensors", metadata)
    with pytest.raises(LTX2Error, match=r"other\.safetensors is not a saved prompt") as caught:
        load_pair(tmp_path / "other.safetensors")
    assert caught.value.code == "wrong_role"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LTX2Error) as caught:
        load_pair(tmp_path / "none.safetensors")
    assert caught.value.code == "not_found"


def test_where_nothing_can_be_written_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LTX2Error, match="cannot be written") as caught:
        save_pair(tmp_path / "file" / "a.safetensors", pair())
    assert caught.value.code == "unwritable"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_on_a_full_disk_nothing_stays(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(LTX2Error, match="cannot be written") as caught:
            save_pair(tmp_path / "a.safetensors", pair())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "unwritable"
    assert not [*tmp_path.iterdir()]


class Passes:
    """Counts hidden states of Gemma as they are checked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    paths = write_tiny_models(tmp_path_factory.mktemp("models"), "2.0")
    return text_encoder(open_weights(paths["text_encoder"]), open_weights(paths["checkpoint"]))


def test_a_text_that_was_read_does_not_reach_gemma_again(encoder: TextEncoder) -> None:
    cache, check = ContextCache(), Passes()
    first = encode_pair(encoder, cache, "a cat", "a dog", check=check)
    once = check.count
    assert once > encoder.gemma.network.config.num_layers
    again = encode_pair(encoder, cache, "a dog", "a cat", check=check)
    assert check.count == once
    assert again.negative is first.positive and again.positive is first.negative
    encode_pair(encoder, cache, "a bird", "a cat", check=check)
    assert check.count == 2 * once
    cache.clear()
    fresh = encode_pair(encoder, cache, "a cat", "a dog", check=check)
    assert check.count == 3 * once
    assert torch.equal(fresh.positive.video, first.positive.video)


def test_the_oldest_prompts_are_forgotten_first(encoder: TextEncoder) -> None:
    cache, check = ContextCache(limit=2), Passes()
    for prompt in ("a cat", "a dog", "a cat", "a bird"):
        encode_pair(encoder, cache, prompt, prompt, check=check)
    assert len(cache) == 2
    before = check.count
    encode_pair(encoder, cache, "a cat", "a cat", check=check)
    assert check.count == before
    encode_pair(encoder, cache, "a dog", "a dog", check=check)
    assert check.count > before


def test_a_prompt_that_is_too_long_is_cut_and_said_to_be(encoder: TextEncoder) -> None:
    cache = ContextCache()
    long = "a cat walks " * 2000
    for _ in range(2):  # from the cache too
        found = encode_pair(encoder, cache, long, "a dog")
        (line,) = found.notices
        assert line.startswith("the prompt has ") and f"cut after {CONTEXT_LENGTH}" in line
        assert found.positive.video.shape[1] == CONTEXT_LENGTH
    assert encode_pair(encoder, cache, "a cat", "a dog").notices == ()
