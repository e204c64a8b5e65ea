"""Clips and sound from files."""

import random
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.picture import encode_picture, read_picture
from ltx2_pack.ltx_core.media.reader import clip_info, read_clip, read_metadata, read_sound
from media_clips import RATES, noise, number_of, numbered_clip

FORMATS = ("mp4", "mov", "webm")


def numbers(path: Path, **wanted) -> list[int]:
    return [number_of(image) for image in read_clip(path, **wanted)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_clip_tells_what_it_holds(tmp_path: Path, format: str, rate: Fraction) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 25, rate, sound=(noise(24000), 48000))
    info = clip_info(path)
    assert (info.width, info.height, info.frames) == (32, 16, 25)
    assert (info.frame_rate, info.sample_rate) == (rate, 48000)
    assert info.seconds == float(25 / rate)


def test_a_clip_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, 3, Fraction(25))
    assert clip_info(path).sample_rate is None
    with pytest.raises(LTX2Error, match=r"clip.mp4 holds no sound") as caught:
        read_sound(path)
    assert caught.value.code == "no_sound"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_all_frames_are_read_in_order(tmp_path: Path, format: str, rate: Fraction) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 33, rate, sound=(noise(9000), 48000))
    images = list(read_clip(path))
    assert images[0].shape == (16, 32, 3) and images[0].dtype == torch.uint8
    assert [number_of(image) for image in images] == list(range(33))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_part_begins_and_ends_at_the_frame_asked_for(
    tmp_path: Path, format: str, rate: Fraction
) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 41, rate)
    for first, count in ((0, 5), (7, 1), (13, 20), (40, 1)):
        start, seconds = first / rate, count / rate
        wanted = list(range(first, first + count))
        assert numbers(path, start=start, seconds=seconds) == wanted
        assert numbers(path, start=float(start), seconds=float(seconds)) == wanted
        assert numbers(path, start=start, frames=count) == wanted
        assert numbers(path, start=start, frames=count, rate=rate) == wanted


@pytest.mark.parametrize("format", FORMATS)
def test_the_own_rate_picks_every_frame_once(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    for rate in RATES:
        numbered_clip(path, 41, rate)
        assert numbers(path, rate=rate) == list(range(41))


@pytest.mark.parametrize("format", FORMATS)
def test_another_rate_picks_the_frame_that_is_visible(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 24, Fraction(24))
    assert numbers(path, rate=Fraction(48)) == [k // 2 for k in range(48)]
    assert numbers(path, rate=Fraction(12)) == list(range(0, 24, 2))
    assert numbers(path, rate=Fraction(30)) == [k * 24 // 30 for k in range(30)]
    assert numbers(path, rate=Fraction(12), start=0.25, seconds=0.5) == list(range(6, 18, 2))


def test_no_frames_are_read_when_none_are_wanted(tmp_path: Path) -> None:
    assert list(read_clip(tmp_path / "nothing.mp4", frames=0)) == []


def test_frames_are_decoded_only_as_they_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, 41, Fraction(25))
    calls: list[int] = []
    images = read_clip(path, check=lambda: calls.append(1))
    next(images), next(images)
    assert len(calls) == 2
    images.close()
    path.unlink()


def test_a_start_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, 9, Fraction(25))
    for rate in (None, Fraction(24)):
        with pytest.raises(LTX2Error, match="no frame from 2 seconds on"):
            list(read_clip(path, start=2, rate=rate))


@pytest.mark.parametrize(("turn", "matrix"), [(90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1))])
def test_a_clip_filmed_upright_is_upright(tmp_path: Path, turn: int, matrix: tuple) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, 3, Fraction(25))
    lying = list(read_clip(path))
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # the matrix: a b u c d v x y w, 16.16 and 2.30
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    info = clip_info(path)
    assert (info.height, info.width) == ((32, 16) if turn == 90 else (16, 32))
    for image, before in zip(read_clip(path), lying, strict=True):
        clockwise = np.rot90(before.numpy(), k=-turn // 90)
        assert np.array_equal(image.numpy(), clockwise)


def test_a_clip_that_states_no_matrix_is_bt601(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    image = np.full((16, 16, 3), (200, 60, 30), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert (next(read_clip(path)).int() - torch.from_numpy(image).int()).abs().max() <= 4


@pytest.mark.parametrize("format", FORMATS)
def test_tags_are_read(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 1, Fraction(25), metadata={"workflow": '{"ü": 1}', "seed": "7"})
    tags = read_metadata(path)
    assert (tags["workflow"], tags["seed"]) == ('{"ü": 1}', "7")


def write_wave(path: Path, content: bytes, *, width: int, channels: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(content)


@pytest.mark.parametrize(
    ("width", "dtype", "scale", "silence"),
    [(1, "u1", 128, 128), (2, "<i2", 32768, 0), (4, "<i4", 2**31, 0)],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_integer_samples_are_scaled_by_their_full_range(
    tmp_path: Path, width: int, dtype: str, scale: int, silence: int, channels: int
) -> None:
    low, high = (0, 256) if silence else (-scale, scale)
    samples = np.random.default_rng(0).integers(low, high, (5000, channels)).astype(dtype)
    samples[0], samples[1] = low, silence
    write_wave(tmp_path / "a.wav", samples.tobytes(), width=width, channels=channels)
    waveform, sample_rate = read_sound(tmp_path / "a.wav")
    expected = (samples.T.astype(np.float64) - silence) / scale
    assert sample_rate == 8000 and waveform.dtype == torch.float32
    assert np.abs(waveform.numpy() - expected).max() < 1e-7
    assert waveform[0, 0] == -1 and waveform[0, 1] == 0


def test_a_part_of_a_sound_is_exact_to_the_sample(tmp_path: Path) -> None:
    samples = np.arange(-8000, 8000, dtype="<i2")
    write_wave(tmp_path / "a.wav", samples.tobytes(), width=2, channels=1)
    for start, seconds, first, last in ((0, 0.5, 0, 4000), (0.25, 1, 2000, 10000)):
        waveform, _ = read_sound(tmp_path / "a.wav", start=start, seconds=seconds)
        assert torch.equal(waveform[0] * 32768, torch.arange(first, last) - 8000.0)
    assert read_sound(tmp_path / "a.wav", start=1.5, seconds=9)[0].shape == (1, 4000)
    with pytest.raises(LTX2Error, match="no sound from 2 seconds on"):
        read_sound(tmp_path / "a.wav", start=2)


@pytest.mark.parametrize("format", FORMATS)
def test_the_sound_of_a_clip_comes_back_in_place(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    sound = noise(48000)
    numbered_clip(path, 25, Fraction(25), sound=(sound, 48000))
    waveform, sample_rate = read_sound(path, start=0.1, seconds=0.5)
    assert (waveform.shape, sample_rate) == ((2, 24000), 48000)
    expected = sound[0, :, 4800:28800]
    assert (waveform - expected).square().mean() < 0.05 * expected.square().mean()


def test_sound_that_begins_late_stays_with_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 16, 16, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(picture.encode(frame))
        samples = np.full((1, 4000), 16384, np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 2000
        frame.time_base = Fraction(1, 8000)
        container.mux([*picture.encode(None), *sound.encode(frame), *sound.encode(None)])
    waveform, _ = read_sound(path)
    assert waveform[0, :2000].abs().max() == 0 and waveform[0, 2000] == 0.5
    assert torch.equal(
        read_sound(path, start=0.3)[0][0], torch.full((waveform.shape[1] - 2400,), 0.5)
    )


@pytest.mark.parametrize("content", [b"", b"no media at all" * 100, bytes(5000)])
def test_what_is_no_clip_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(content)
    for read in (clip_info, lambda path: list(read_clip(path)), read_sound, read_picture):
        with pytest.raises(LTX2Error, match=r"^holiday\.mp4 ") as caught:
            read(path)
        assert caught.value.where == str(path)


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for name in ("nothing.mp4", "folder.mp4"):
        with pytest.raises(LTX2Error, match=f"^{name} could not be read"):
            clip_info(tmp_path / name)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", bytes(8000), width=2)
    with pytest.raises(LTX2Error, match=r"a\.wav holds no pictures"):
        clip_info(tmp_path / "a.wav")


def test_a_playlist_reads_no_other_file(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "secret.mp4", 3, Fraction(25))
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    (tmp_path / "b.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n"
    )
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(LTX2Error):
            list(read_clip(tmp_path / name))


@pytest.mark.parametrize("format", FORMATS)
def test_a_clip_cut_short_is_refused_at_any_length(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"clip.{format}"
    numbered_clip(path, 9, Fraction(25), sound=(noise(17280), 48000))
    content = path.read_bytes()
    for part in range(20):
        path.write_bytes(content[: len(content) * part // 20])
        for read in (clip_info, lambda path: list(read_clip(path)), read_sound):
            with pytest.raises(LTX2Error, match=f"^clip.{format} "):
                read(path)
    path.write_bytes(content[:-1])
    with pytest.raises(LTX2Error, match="is cut short") as caught:
        clip_info(path)
    assert caught.value.code == "truncated"


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    numbered_clip(path, 9, Fraction(25))
    path.write_bytes(path.read_bytes() + b"SEFT appended by a camera")
    assert numbers(path) == list(range(9))


def test_names_that_mean_something_to_ffmpeg_are_only_names(tmp_path: Path) -> None:
    image = torch.randint(256, (8, 10, 3), generator=torch.Generator().manual_seed(0)).byte()
    for name in ("pic%03d.png", "concat:a|b.png", "pipe:0.png", "*.png", "[0-9].png"):
        (tmp_path / name).write_bytes(encode_picture(image, "png"))
        assert torch.equal(read_picture(tmp_path / name), image)


def test_long_and_foreign_paths_are_read(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 1500:
        folder = folder / ("Spaß 日本 %d file:x" * 4)
    path = folder / ("ü" * 120 + ".mp4")
    numbered_clip(path, 3, Fraction(25), sound=(noise(5000), 48000), metadata={"seed": "1"})
    assert numbers(path) == [0, 1, 2] and clip_info(path).frames == 3
    assert read_sound(path)[1] == 48000 and read_metadata(path)["seed"] == "1"


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    kind = chance.random()
    if kind < 0.2:
        return content[: chance.randrange(len(content))]
    if kind < 0.3:
        place = chance.randrange(len(content))
        del changed[place : place + chance.randrange(400)]
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(min(len(changed), 2500))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("format", ["mp4", "webm", "wav", "png", "jpeg"])
def test_damaged_files_end_in_one_kind_of_error(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"file.{format}"
    if format == "wav":
        write_wave(path, bytes(range(256)) * 20, width=2)
    elif format in ("png", "jpeg"):
        path.write_bytes(encode_picture(torch.randint(256, (20, 30, 3)).byte(), format))
    else:
        sound, tags = (noise(8000), 48000), {"workflow": "{}" * 50}
        numbered_clip(path, 9, Fraction(25), sound=sound, metadata=tags)
    content, chance = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(content, chance))
        for read in (
            clip_info,
            lambda path: list(read_clip(path, start=0.1, rate=Fraction(24), frames=50)),
            lambda path: list(read_clip(path)),
            read_sound,
            read_metadata,
        ):
            try:
                read(path)
            except LTX2Error as error:
                assert path.name in error.what
                refused += 1
    assert refused > 0
