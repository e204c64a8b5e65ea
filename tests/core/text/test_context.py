"""Contexts as files."""

import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.context import TextContext, load_context, save_context
from safetensors.torch import save_file


def context(prompt: str = "a cat", dtype: torch.dtype = torch.bfloat16) -> TextContext:
    return TextContext(
        video=torch.randn(1, 16, 6).to(dtype),
        audio=torch.randn(1, 16, 4).to(dtype),
        generation="2.3",
        prompt=prompt,
        source="gemma, checkpoint",
    )


@pytest.mark.parametrize("prompt", ["a cat", "", "24", "null", '{"a": 1}', '"quoted"\n日本語 😀'])
def test_what_is_saved_comes_back(tmp_path, prompt):
    saved = context(prompt)
    save_context(tmp_path / "a.safetensors", saved)
    loaded = load_context(tmp_path / "a.safetensors")
    assert torch.equal(loaded.video, saved.video) and torch.equal(loaded.audio, saved.audio)
    assert (loaded.prompt, loaded.generation, loaded.source) == (prompt, "2.3", "gemma, checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_saving_over_a_loaded_context_leaves_the_loaded_one_alone(tmp_path):
    first = context()
    save_context(tmp_path / "a.safetensors", first)
    loaded = load_context(tmp_path / "a.safetensors")
    save_context(tmp_path / "a.safetensors", context())
    assert torch.equal(loaded.video, first.video)


def test_streams_that_share_memory_can_be_saved(tmp_path):
    both = torch.randn(1, 16, 6)
    save_context(tmp_path / "a.safetensors", TextContext(video=both, audio=both, generation="2.0"))
    assert torch.equal(load_context(tmp_path / "a.safetensors").audio, both)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"weight": torch.ones(2)}, {}),
        ({"conditioning_data_0": torch.ones(1, 4, 4)}, {"format": "pt"}),
        ({"video_context": torch.ones(1, 4, 4)}, {"format": "ltx2_text_context"}),
        (
            {"video_context": torch.ones(4), "audio_context": torch.ones(4)},
            {"format": "ltx2_text_context", "generation": '"2.3"', "prompt": '""', "source": '""'},
        ),
        (
            {"video_context": torch.ones(1, 4, 4), "audio_context": torch.ones(1, 4, 4)},
            {"format": "ltx2_text_context", "generation": "2.3", "prompt": '""', "source": '""'},
        ),
    ],
)
def test_another_file_is_refused(tmp_path, tensors, metadata):
    save_file(tensors, tmp_path / "other.safetensors", metadata)
    with pytest.raises(
        LTX2Error, match=r"other\.safetensors is not a saved text context"
    ) as caught:
        load_context(tmp_path / "other.safetensors")
    assert caught.value.code == "wrong_role"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LTX2Error) as caught:
        load_context(tmp_path / "none.safetensors")
    assert caught.value.code == "not_found"
