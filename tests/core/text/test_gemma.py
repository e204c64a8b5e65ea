"""Known answers of the language model and the feature extractor."""

import weakref

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from ltx2_pack.ltx_core.checkpoint.weights import weights_of
from ltx2_pack.ltx_core.text.config import Rope
from ltx2_pack.ltx_core.text.features import evened_by_range, evened_by_rms
from ltx2_pack.ltx_core.text.gemma import GemmaNorm, causal_mask, rotary_angles
from ltx2_pack.ltx_core.text.keys import StateSlices
from ltx2_pack.ltx_core.text.load import gemma_part, text_encoder

from . import tiny


def states_of(ids: list[list[int]], end: int = 16) -> torch.Tensor:
    part = gemma_part(tiny.gemma())
    with torch.no_grad(), place_on_cpu(part) as gemma:
        table = part.weights["embed_tokens.weight"]
        tokens = [token for prompt in ids for token in prompt]
        return torch.stack([*gemma(gemma.embed(table, tokens), [len(p) for p in ids], end)])


def test_a_norm_weight_of_zero_leaves_the_plain_norm():
    norm = GemmaNorm(4, 0.0, device=None, dtype=None)
    torch.nn.init.zeros_(norm.weight)
    x = torch.tensor([[3.0, 3.0, -3.0, -3.0]])
    torch.testing.assert_close(norm(x), x / 3)


def test_norms_are_computed_in_float32():
    norm = GemmaNorm(2, 1e-6, device=None, dtype=torch.bfloat16)
    torch.nn.init.constant_(norm.weight, 0.0078125)  # 1 + it is no bfloat16 number
    x = (
        torch.tensor([[1.0, 1.0]], dtype=torch.bfloat16) * 300
    )  # its square has no bfloat16 rounding
    expected = (x.float() / 300 * 1.0078125).to(torch.bfloat16)
    assert torch.equal(norm(x), expected)


def test_a_token_sees_itself_and_the_window_before_it():
    seen = causal_mask(5, 2, torch.empty(0)) == 0
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_angles_of_position_zero_turn_nothing_and_the_factor_slows():
    plain = rotary_angles(Rope(theta=100.0), torch.tensor([0, 8]), 4)
    slow = rotary_angles(Rope(theta=100.0, factor=8.0), torch.tensor([0, 64]), 4)
    assert torch.equal(plain.cos[0, 0, 0], torch.ones(2))
    torch.testing.assert_close(plain.cos[0, 0, 1], torch.tensor([8.0, 0.8]).cos())
    torch.testing.assert_close(plain, slow)


def test_later_tokens_do_not_change_earlier_states():
    short, long = states_of([[2, 4, 5]], end=16), states_of([[2, 4, 5, 6]], end=17)
    torch.testing.assert_close(short, long[:, :3], rtol=0, atol=1e-5)


def test_only_differences_of_positions_matter():
    near, far = states_of([[2, 4, 5]], end=3), states_of([[2, 4, 5]], end=900)
    torch.testing.assert_close(near, far, rtol=0, atol=1e-3)


def test_there_is_a_state_for_the_embeddings_and_for_every_layer():
    states = states_of([[2, 4], [2]])
    assert states.shape == (tiny.LAYERS + 1, 3, tiny.DIM)
    table = tiny.gemma()["model.embed_tokens.weight"]
    torch.testing.assert_close(states[0], table[[2, 4, 2]] * tiny.DIM**0.5)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, 62.0), (torch.float32, 3840**0.5)])
def test_the_embedding_scale_is_rounded_to_the_working_dtype(dtype, scale):
    part = gemma_part(tiny.gemma(dim=3840, layers=1))
    with torch.no_grad():
        gemma = part.lay_out(torch.device("cpu"), dtype=dtype)
        row = gemma.embed(torch.ones(3, 3840), [1])
    assert row.dtype is dtype
    torch.testing.assert_close(row.float(), torch.full((1, 3840), scale))


def test_range_evening_has_mean_zero_and_range_eight_per_prompt():
    state = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 100 + 3
    first, second = evened_by_range(state, [3, 4]).split([3, 4])
    for prompt in (first, second):
        assert abs(prompt.mean().item()) < 1e-5
        assert prompt.max() - prompt.min() == pytest.approx(8, abs=1e-5)


def test_rms_evening_has_root_mean_square_one_per_token():
    state = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 100 + 3
    squares = evened_by_rms(state).pow(2).mean(-1)
    torch.testing.assert_close(squares, torch.ones(7))


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_states_never_lie_in_memory_together(generation):
    encoder = text_encoder(tiny.gemma(), tiny.checkpoint(generation))
    alive, most = [], []

    def states():
        for _ in range(tiny.LAYERS + 1):
            state = torch.randn(3, tiny.DIM)
            alive.append(weakref.ref(state))
            yield state
            del state
            most.append(sum(reference() is not None for reference in alive))

    with torch.no_grad(), place_on_cpu(encoder.extractor) as extractor:
        extractor(states(), [3])
    assert len(alive) == tiny.LAYERS + 1
    assert max(most) <= 1


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_projecting_state_by_state_is_the_one_projection_of_all(generation):
    checkpoint = tiny.checkpoint(generation)
    encoder = text_encoder(tiny.gemma(), checkpoint)
    states = torch.randn(tiny.LAYERS + 1, 5, tiny.DIM, generator=torch.Generator().manual_seed(3))
    with torch.no_grad(), place_on_cpu(encoder.extractor) as extractor:
        features = extractor(iter(states), [2, 3])
    for stream, found in zip(("video", "audio"), features, strict=True):
        name = "aggregate_embed" if generation == "2.0" else f"{stream}_aggregate_embed"
        weight = checkpoint[f"text_embedding_projection.{name}.weight"]
        bias = checkpoint.get(f"text_embedding_projection.{name}.bias")
        if generation == "2.0":
            evened = [evened_by_range(state, [2, 3]) for state in states]
        else:
            evened = [evened_by_rms(state) * (len(weight) / tiny.DIM) ** 0.5 for state in states]
        flat = torch.stack(evened, dim=-1).flatten(1)  # [N, D * S], dimension-major
        expected = torch.nn.functional.linear(flat, weight, bias)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


class Counting(dict):
    """Tensors that count how often they are read."""

    reads = 0

    def __getitem__(self, key):
        self.reads += 1
        return super().__getitem__(key)


def test_laying_out_the_extractor_reads_every_matrix_once():
    checkpoint = tiny.checkpoint("2.3")
    counting = Counting(checkpoint)
    encoder = text_encoder(tiny.gemma(), weights_of(counting, checkpoint.metadata, checkpoint.name))
    counting.reads = 0
    encoder.extractor.lay_out(torch.device("cpu"))
    assert counting.reads == 4  # two matrices, two biases


def test_the_projection_is_read_once_and_let_go():
    matrix = torch.arange(24.0).reshape(2, 12)  # 2 outputs, 3 dimensions, 4 states
    named = Counting({"x.weight": matrix, "x.bias": torch.ones(2)})
    slices = StateSlices(named, 4)
    assert {*slices} == {*(f"x.{state}.weight" for state in range(4)), "x.0.bias"}
    for state in range(4):
        assert torch.equal(slices[f"x.{state}.weight"], matrix[:, state::4])
    assert named.reads == 1
    assert torch.equal(slices["x.0.bias"], torch.ones(2))
    assert torch.equal(slices["x.0.weight"], matrix[:, 0::4])  # it was let go: read anew
    assert named.reads == 3
