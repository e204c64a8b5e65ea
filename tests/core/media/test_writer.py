"""Clips as files."""

import gc
import json
import subprocess
import sys
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.codecs import require_encoder
from ltx2_pack.ltx_core.media.picture import FrameReader
from ltx2_pack.ltx_core.media.writer import FORMATS, crf_of, write_clip
from media_clips import RATES, decoded_sound, noise, number_of, numbered_clip, numbered_spans

TESTS = Path(__file__).resolve().parents[2]


class Stopped(BaseException):
    """As a host's cancelling."""


def decoded(path: Path) -> tuple[av.VideoFrame, ...]:
    with av.open(str(path)) as container:
        return tuple(container.decode(video=0))


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_frames_stand_at_exact_times(tmp_path: Path, format: str, rate: Fraction) -> None:
    path = tmp_path / f"clip.{format}"
    written = numbered_clip(path, 25, rate)
    assert (written.frames, written.frame_rate, written.seconds) == (25, rate, float(25 / rate))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        assert stream.frames == 25
        assert stream.duration * stream.time_base == 25 / rate
    frames = decoded(path)
    assert [frame.pts * frame.time_base for frame in frames] == [k / rate for k in range(25)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_webm_states_the_exact_rate_and_stands_at_the_nearest_millisecond(
    tmp_path: Path, rate: Fraction
) -> None:
    path = tmp_path / "clip.webm"
    numbered_clip(path, 25, rate)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate
    for number, frame in enumerate(decoded(path)):
        assert abs(frame.pts * frame.time_base - number / rate) <= Fraction(1, 2000)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_a_single_frame_keeps_the_rate(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, frames, Fraction(24000, 1001))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(24000, 1001)
    assert len(decoded(path)) == frames


@pytest.mark.parametrize("format", FORMATS)
def test_every_frame_arrives_in_order_and_shade(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 33, Fraction(25))
    assert [number_of(FrameReader()(frame)) for frame in decoded(path)] == list(range(33))


@pytest.mark.parametrize("format", FORMATS)
def test_colours_survive_and_are_marked_as_bt709(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    colours = torch.tensor([[255, 40, 20], [30, 200, 60], [20, 50, 230], [250, 250, 250]])
    span = (colours.T / 127.5 - 1).reshape(1, 3, 4, 1, 1).expand(1, 3, 4, 32, 32)
    write_clip(path, [span], Fraction(25), format=format, quality=99)
    for frame, colour in zip(decoded(path), colours, strict=True):
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)
        assert (FrameReader()(frame).int() - colour).abs().max() <= 3
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.pix_fmt) == (1, 1, "yuv420p")
        assert context.name.startswith({"webm": "vp9"}.get(format, "h264"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("rate", "frames", "sample_rate"),
    [(RATES[1], 1, 48000), (RATES[2], 9, 24000), (RATES[3], 49, 44100), (RATES[4], 121, 48000)],
    ids=str,
)
@pytest.mark.parametrize("factor", [0.5, 1.5], ids=["short", "long"])
def test_sound_is_as_long_as_the_picture(
    tmp_path: Path, format: str, rate: Fraction, frames: int, sample_rate: int, factor: float
) -> None:
    path = tmp_path / f"clip.{format}"
    sound = noise(int(frames / rate * sample_rate * factor))
    written = numbered_clip(path, frames, rate, sound=(sound, sample_rate))
    assert written.samples == round(frames / rate * written.sample_rate)
    samples, rate_read = decoded_sound(path)
    assert rate_read == written.sample_rate == (48000 if format == "webm" else sample_rate)
    codec_frame = 960 if format == "webm" else 1024
    assert samples.shape[0] == 2
    assert abs(samples.shape[1] - frames / rate * rate_read) <= codec_frame


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sample_rate", [24000, 44100, 48000])
def test_sound_keeps_its_place_in_time(tmp_path: Path, format: str, sample_rate: int) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 25, Fraction(25), sound=(noise(sample_rate), sample_rate))
    samples, rate = decoded_sound(path)
    expected = noise(sample_rate)[0]
    if rate != sample_rate:
        expected = torch.nn.functional.interpolate(expected[None], rate, mode="linear")[0]
    for ear in range(2):
        found = np.correlate(samples[ear, 1000:30000].numpy(), expected[ear, 2000:10000].numpy())
        assert abs(int(found.argmax()) - 1000) <= 2
    assert (samples[0, :4000] - samples[1, :4000]).abs().max() > 0.1  # left is not right


@pytest.mark.parametrize("format", FORMATS)
def test_chunks_of_sound_make_the_same_file_as_the_whole(tmp_path: Path, format: str) -> None:
    sound = noise(24000)
    chunks = iter(sound.split([1, 5000, 7, 10000, 8992], dim=2))
    for name, waveform in (("whole", sound), ("chunks", chunks)):
        numbered_clip(tmp_path / f"{name}.{format}", 25, Fraction(25), sound=(waveform, 24000))
    whole, _ = decoded_sound(tmp_path / f"whole.{format}")
    parts, _ = decoded_sound(tmp_path / f"chunks.{format}")
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("format", FORMATS)
def test_tags_come_back_as_they_were(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    tags = {
        "workflow": json.dumps({"nodes": [{"id": k, "text": 'a "b"\n\\ ü'} for k in range(5000)]}),
        "prompt": json.dumps({"1": {"inputs": {"text": "日本 🙂 = ; #"}}}, ensure_ascii=False),
        "seed": "18446744073709551615",
        "seconds_per_phase": json.dumps({"load": 1.5, "denoise": 20.25}),
    }
    numbered_clip(path, 1, Fraction(25), metadata=tags)
    with av.open(str(path)) as container:
        read = {key.lower(): value for key, value in container.metadata.items()}
    assert {key: read[key] for key in tags} == tags


@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_the_index_stands_before_the_pictures(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 9, Fraction(25))
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_a_span_is_let_go_before_the_next_is_asked_for(tmp_path: Path) -> None:
    alive: list[weakref.ref] = []

    def tracked():
        for span in numbered_spans(41):
            gc.collect()
            assert not [array for array in alive if array() is not None]
            memory = span.numpy().copy()
            alive.append(weakref.ref(memory))
            tensor = torch.from_numpy(memory)
            del memory, span
            yield tensor
            del tensor

    write_clip(tmp_path / "clip.mp4", tracked(), Fraction(25))
    assert len(alive) == 6


def test_no_span_beyond_the_wanted_frames_is_asked_for(tmp_path: Path) -> None:
    spans, seen = numbered_spans(41), []
    path = tmp_path / "clip.mp4"
    written = write_clip(path, spans, Fraction(25), frames=12, on_frames=seen.append)
    assert written.frames == len(decoded(path)) == 12
    assert seen == list(range(1, 13))
    assert next(spans).shape[2] == 8  # the third of six; two were taken


@pytest.mark.parametrize(("height", "width"), [(17, 32), (16, 33), (17, 33)])
def test_an_odd_side_loses_its_last_pixel(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "clip.mp4"
    written = write_clip(path, numbered_spans(9, height=height, width=width), Fraction(25))
    assert (written.width, written.height) == (32, 16)
    assert (decoded(path)[0].width, decoded(path)[0].height) == (32, 16)


def test_better_quality_is_closer_and_larger(tmp_path: Path) -> None:
    span = torch.rand(1, 3, 5, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors, sizes = [], []
    for quality in (30, 60, 95):
        path = tmp_path / f"{quality}.mp4"
        write_clip(path, [span], Fraction(25), quality=quality)
        read = torch.stack([FrameReader()(frame) for frame in decoded(path)]).float().mean(-1)
        luma = (span[0] * 127.5 + 127.5).mean(0)
        errors.append((read - luma).abs().mean().item())
        sizes.append(path.stat().st_size)
    assert errors == sorted(errors, reverse=True) and sizes == sorted(sizes)
    assert [crf_of(quality) for quality in (20, 50, 80, 95, 99)] == [43, 31, 19, 13, 11]


@pytest.mark.parametrize("quality", [19, 100])
def test_an_impossible_quality_is_refused(quality: int) -> None:
    with pytest.raises(LTX2Error, match="from 20 to 99"):
        crf_of(quality)


def test_half_precision_spans_are_written(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, (span.bfloat16() for span in numbered_spans(9)), Fraction(25))
    assert [number_of(FrameReader()(frame)) for frame in decoded(path)] == list(range(9))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Stopped, RuntimeError])
@pytest.mark.parametrize("calls", [0, 1, 20, 50])
@pytest.mark.parametrize("format", ["mp4", "webm"])
def test_cancelling_leaves_no_file(tmp_path: Path, format: str, calls: int, stop: type) -> None:
    left = iter(range(calls))

    def check() -> None:
        if next(left, None) is None:
            raise stop

    path = tmp_path / f"clip.{format}"
    with pytest.raises(stop):
        numbered_clip(path, 33, Fraction(25), sound=(noise(48000), 48000), check=check)
    assert list(tmp_path.iterdir()) == []


def test_check_is_called_for_every_chunk(tmp_path: Path) -> None:
    calls = []
    numbered_clip(
        tmp_path / "a.mp4",
        9,
        Fraction(25),
        sound=(noise(48000), 48000),
        check=lambda: calls.append(1),
    )
    assert len(calls) == 2 * 9 + 2  # picture and sound of each frame, and their ends


def test_an_error_of_the_decoder_leaves_the_older_file(tmp_path: Path) -> None:
    def broken():
        yield from numbered_spans(9)
        raise OSError(5, "the weights could not be read")

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")
    with pytest.raises(OSError, match="the weights could not be read") as caught:
        write_clip(path, broken(), Fraction(25))
    assert not isinstance(caught.value, LTX2Error)  # not our file's fault
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"older"]


@pytest.mark.parametrize("what", ["picture", "sound"])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, what: str) -> None:
    spans, sound = list(numbered_spans(9)), noise(48000)
    if what == "picture":
        spans[1] = spans[1].clone()
        spans[1][0, 1, 3, 4, 5] = float("nan")
    else:
        sound[0, 1, 100] = float("inf")
    with pytest.raises(LTX2Error, match=f"The {what} contains values that are not numbers"):
        write_clip(tmp_path / "clip.mp4", spans, Fraction(25), sound=(sound, 48000))
    assert list(tmp_path.iterdir()) == []


def test_a_clip_without_frames_or_with_too_few_is_refused(tmp_path: Path) -> None:
    for spans, frames in (([], None), (numbered_spans(9), 0), (numbered_spans(9), 17)):
        with pytest.raises(LTX2Error, match="was not written"):
            write_clip(tmp_path / "clip.mp4", spans, Fraction(25), frames=frames)
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    for path in (tmp_path / "file" / "clip.mp4", tmp_path / "file" / "more" / "clip.mp4"):
        with pytest.raises(LTX2Error, match=r"clip.mp4 could not be written: .*\.") as caught:
            numbered_clip(path, 1, Fraction(25))
        assert caught.value.where == str(path.parent)
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(LTX2Error, match="a folder of that name"):
        numbered_clip(tmp_path / "clip.mp4", 1, Fraction(25))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "november" / "clip.mp4"
    assert numbered_clip(path, 1, Fraction(25)).path == path
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_long_and_foreign_names_are_written_and_read(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 1500:
        folder = folder / ("Spaß 日本 %d file:x" * 4)
    path = folder / ("ü" * 120 + ".mp4")  # 244 bytes of 255
    numbered_clip(path, 3, Fraction(25), sound=(noise(5000), 48000))
    with path.open("rb") as file, av.open(file) as container:
        assert len(list(container.decode(video=0))) == 3


def test_an_unknown_format_or_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LTX2Error, match="cannot be written as avi") as caught:
        write_clip(tmp_path / "clip.avi", [], Fraction(25), format="avi")
    assert caught.value.needed == "mp4, mov, webm"
    with pytest.raises(LTX2Error, match="cannot encode libnone"):
        require_encoder("libnone")


def test_a_waveform_of_five_channels_is_a_mistake(tmp_path: Path) -> None:
    sound = torch.zeros(1, 5, 100)
    with pytest.raises(ValueError, match="a waveform is"):
        numbered_clip(tmp_path / "clip.mp4", 1, Fraction(25), sound=(sound, 48000))


FULL_DISK = """
import resource, sys
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import conftest, torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.writer import write_clip

folder = Path(sys.argv[2])
spans = [torch.rand(1, 3, 9, 64, 64) * 2 - 1]
sound = (torch.rand(1, 2, 20000) - 0.5, 48000)
for format in ("mp4", "webm"):
    path = folder / f"clip.{format}"
    size = 0
    for part in (1.0, *(number / 20 for number in range(20))):
        limit = int(size * part) if size else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write_clip(path, spans, Fraction(25), sound=sound, format=format)
        except LTX2Error as error:
            print(format, "refused", error.what)
        else:
            print(format, "written")
            size = path.stat().st_size
            path.unlink()
        for left in folder.iterdir():
            print("LEFT", left)
"""


def test_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(TESTS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = answer.stdout.splitlines()
    for format in ("mp4", "webm"):
        refused = f"{format} refused clip.{format} could not be written: the file became larger"
        assert lines.count(f"{format} written") == 1
        assert sum(line.startswith(refused) for line in lines) == 20
    assert len(lines) == 42


@pytest.mark.parametrize("format", FORMATS)
def test_tags_that_are_known_only_at_the_end_arrive_too(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    encoded: list[int] = []
    rate = Fraction(24000, 1001)
    sound = (noise(2 * 48_000), 48_000)
    write_clip(
        path,
        numbered_spans(25),
        rate,
        sound=sound,
        format=format,
        metadata=lambda: {"frames": str(encoded[-1])},
        on_frames=encoded.append,
    )
    with av.open(str(path)) as container:
        tags = {name.lower(): text for name, text in container.metadata.items()}
        assert container.streams.video[0].average_rate == rate
    assert tags["frames"] == "25"
    assert [number_of(FrameReader()(frame)) for frame in decoded(path)] == list(range(25))
    assert sorted(tmp_path.iterdir()) == [path]
