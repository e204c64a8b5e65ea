"""From prompts to contexts, on tiny random networks."""

from contextlib import contextmanager

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.part import Part, place_on_cpu
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.encoder import TextEncoder, encode_prompts
from ltx2_pack.ltx_core.text.load import text_encoder

from . import tiny

PROMPTS = ["a cat walks slowly", "", "rain falls"]


def encoder(generation: str = "2.3", **options) -> TextEncoder:
    return text_encoder(tiny.gemma(), tiny.checkpoint(generation), **options)


def place_in(dtype: torch.dtype, seen: list[tuple[str, str]] | None = None):
    """A place on the CPU that computes in `dtype` and notes who comes and goes."""

    @contextmanager
    def place(part: Part, *, loras=(), activation_bytes=0):
        if seen is not None:
            seen.append(("came", part.role))
        yield part.lay_out(torch.device("cpu"), dtype=dtype, loras=loras)
        part.rest()
        if seen is not None:
            seen.append(("went", part.role))

    return place


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_each_prompt_gets_a_context_of_full_length(generation):
    contexts = encode_prompts(encoder(generation), PROMPTS, length=16)
    video, audio = tiny.WIDTHS[generation]
    assert [context.prompt for context in contexts] == PROMPTS
    for context in contexts:
        assert context.video.shape == (1, 16, video)
        assert context.audio.shape == (1, 16, audio)
        assert context.generation == generation
        assert context.source == f"gemma_tiny, ltx-{generation}-tiny"
        assert context.video.isfinite().all()


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_prompts_encoded_together_do_not_see_each_other(generation):
    text = encoder(generation)
    together = encode_prompts(text, PROMPTS, length=16)
    for prompt, context in zip(PROMPTS, together, strict=True):
        (alone,) = encode_prompts(text, [prompt], length=16)
        torch.testing.assert_close(context.video, alone.video, rtol=0, atol=1e-5)
        torch.testing.assert_close(context.audio, alone.audio, rtol=0, atol=1e-5)


def test_different_prompts_have_different_contexts():
    first, empty, third = (
        context.video for context in encode_prompts(encoder(), PROMPTS, length=16)
    )
    assert (first - empty).abs().max() > 1e-2
    assert (first - third).abs().max() > 1e-2


def test_white_space_alone_is_the_empty_prompt():
    empty, blank = encode_prompts(encoder(), ["", " \n\t "], length=16)
    torch.testing.assert_close(empty.video, blank.video, rtol=0, atol=1e-5)


def test_no_prompts_need_no_network():
    assert encode_prompts(encoder(), [], place=place_in(torch.float32, seen := [])) == []
    assert seen == []


def test_gemma_goes_before_the_connectors_come():
    encode_prompts(encoder(), PROMPTS, place_in(torch.float32, seen := []), length=16)
    assert seen == [
        ("came", "text_encoder"), ("came", "text_projection"),
        ("went", "text_projection"), ("went", "text_encoder"),
        ("came", "connectors"), ("went", "connectors"),
    ]  # fmt: skip


def test_nothing_stays_laid_out():
    text = encoder()
    encode_prompts(text, PROMPTS, length=16)
    for part in (text.gemma, text.extractor, text.connectors):
        assert part.device is None
        assert all(parameter.is_meta for parameter in part.network.parameters())


def test_check_is_called_for_every_gemma_layer():
    calls = []
    encode_prompts(encoder(), PROMPTS, length=16, check=lambda: calls.append(1))
    assert len(calls) >= tiny.LAYERS


def test_check_given_to_the_networks_is_called_per_layer_and_block():
    calls = []
    encode_prompts(encoder(check=lambda: calls.append(1)), PROMPTS, length=16)
    assert len(calls) == tiny.LAYERS + 2 * 2


class Cancelled(BaseException):
    """Stands for the host's own exception."""


def test_check_cancels_by_raising_and_leaves_nothing_behind():
    text, left = encoder(), iter([1, 1])

    def check() -> None:
        if next(left, None) is None:
            raise Cancelled

    with pytest.raises(Cancelled):
        encode_prompts(text, PROMPTS, length=16, check=check)
    assert text.gemma.device is None and text.extractor.device is None


def test_progress_counts_up_to_the_total():
    seen = []
    encode_prompts(
        encoder(), PROMPTS, length=16, on_progress=lambda done, total: seen.append((done, total))
    )
    total = tiny.LAYERS + 1
    assert seen == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_bfloat16_gives_nearly_the_same(generation):
    text = encoder(generation)
    exact = encode_prompts(text, PROMPTS, length=16)
    rounded = encode_prompts(text, PROMPTS, place_in(torch.bfloat16), length=16)
    for wanted, found in zip(exact, rounded, strict=True):
        for stream in ("video", "audio"):
            a, b = getattr(wanted, stream), getattr(found, stream)
            assert b.dtype is torch.bfloat16
            assert (a - b.float()).norm() < 0.05 * a.norm()  # bfloat16 has 8 bits


def test_float16_is_refused_because_gemma_overflows_it():
    with pytest.raises(LTX2Error, match="float16") as caught:
        encode_prompts(encoder(), PROMPTS, place_in(torch.float16), length=16)
    assert caught.value.code == "dtype_unsupported"


def test_a_tokenizer_of_another_model_is_named():
    gemma = tiny.gemma()
    smaller = gemma["model.embed_tokens.weight"][:6].clone()
    mixed = tiny.with_tensors(gemma, **{"model.embed_tokens.weight": smaller})
    text = text_encoder(mixed, tiny.checkpoint("2.3"))
    with pytest.raises(LTX2Error, match="tokenizer") as caught:
        encode_prompts(text, PROMPTS, length=16)
    assert caught.value.code == "tokenizer_mismatch"


def test_long_prompts_are_cut(caplog):
    text = encoder()
    long, cut = encode_prompts(text, ["cat " * 40, "cat " * 15], length=16)
    torch.testing.assert_close(long.video, cut.video, rtol=0, atol=1e-5)
    assert "cut at 16" in caplog.text


def test_contexts_need_no_gradients():
    (context,) = encode_prompts(encoder(), ["a cat"], length=16)
    assert not context.video.requires_grad and not context.audio.requires_grad


def test_the_embedding_table_is_not_laid_out():
    text = encoder()
    with place_on_cpu(text.gemma) as gemma:
        assert not any("embed" in name for name in gemma.state_dict())
    assert text.gemma.num_bytes < sum(t.numel() * 4 for t in text.gemma.weights.values())
