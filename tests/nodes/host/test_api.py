"""The stand-in of the node interface. That it equals the real one is a live test."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from ltx2_pack.ltx_core.media.writer import write_clip
from ltx2_pack.nodes.host.api import io, video_from_components, video_from_file
from ltx2_pack.nodes.host.standin.io import HiddenValues, with_hidden
from toy_nodes import ToyNumber, ToyPicky


@pytest.mark.parametrize(
    "entries",
    [
        ([io.Int.Input("a"), io.Float.Input("a")], []),
        ([io.Int.Input("a")], [io.Int.Output(id="a")]),
    ],
)
def test_ids_are_unique(entries: tuple[list[object], list[object]]) -> None:
    with pytest.raises(ValueError, match="unique"):
        io.Schema(node_id="Twice", inputs=entries[0], outputs=entries[1])


def test_hidden_values_are_only_those_asked_for() -> None:
    values = HiddenValues(unique_id="7", prompt={}, extra_pnginfo={"workflow": 1}, dynprompt=3)
    assert with_hidden(ToyPicky, values).hidden == values._replace(dynprompt=None)
    assert with_hidden(ToyNumber, values).hidden == HiddenValues()
    assert ToyPicky.hidden == HiddenValues()


def test_values_are_widgets_unless_only_a_link_may_fill_them() -> None:
    assert io.Int.Input("a").is_widget
    assert not io.Int.Input("a", force_input=True).is_widget
    assert not io.Image.Input("a").is_widget
    assert not io.MultiType.Input("a", [io.Int, io.String]).is_widget
    assert io.MultiType.Input(io.Int.Input("a"), [io.Float]).is_widget


def test_video_in_memory_and_in_a_file_say_the_same(tmp_path: Path) -> None:
    images = torch.linspace(0, 1, 9 * 32 * 48 * 3).reshape(9, 32, 48, 3)
    audio = {"waveform": torch.zeros(1, 2, 18000), "sample_rate": 48000}
    in_memory = video_from_components(images, Fraction(24), audio)
    path = tmp_path / "clip.mp4"
    spans = ((images * 2 - 1).movedim(-1, 0)[None],)
    write_clip(path, spans, Fraction(24), sound=(audio["waveform"], 48000))
    in_file = video_from_file(path)
    assert in_file.get_stream_source() == str(path)
    for video in (in_memory, in_file):
        assert video.get_dimensions() == (48, 32)
        assert video.get_duration() == 9 / 24
        parts = video.get_components()
        assert parts.images.shape == (9, 32, 48, 3)
        assert parts.images.min() >= 0 and parts.images.max() <= 1
        assert parts.frame_rate == 24
        assert parts.audio["sample_rate"] == 48000
        assert parts.audio["waveform"].shape[:2] == (1, 2)
    write_clip(path, spans, Fraction(24))
    assert video_from_file(path).get_components().audio is None
