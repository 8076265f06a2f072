"""Exactness of the default reader; every expected number is analytic: the frames carry their numbers."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_synth import TICK, numbers, picture, steady, tone, write_clip
from PIL import Image

from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import ConfigError, NoUsableStream

WHOLE = DecodeSpec(duration=60.0)


def test_b_frames_every_frame_in_order(reader: MediaReader, plain: Path) -> None:
    clip = reader.read_clip(plain)
    assert numbers(clip.video.thumbs) == list(range(60))
    np.testing.assert_allclose(clip.video.thumb_pts, np.arange(60) / 30, atol=1e-9)
    # Parts of 0.5 s = 15 frames; frame 7 is on screen at 0.25 s.
    assert numbers(clip.video.frames) == [7, 8, 22, 23, 37, 38, 52, 53]
    np.testing.assert_allclose(clip.video.pts, np.array([7, 8, 22, 23, 37, 38, 52, 53]) / 30, atol=1e-9)
    assert clip.video.frames.shape == (8, 180, 320, 3)
    assert clip.video.thumbs.shape == (60, 90, 160)
    assert (clip.start, clip.end, clip.absent, clip.warnings) == (0.0, 2.0, {}, [])
    assert clip.video.damaged == 0


def test_pictures_beyond_the_memory_of_a_window_are_judged_scaled_down(plain: Path) -> None:
    whole = MediaReader()
    few = MediaReader(limits=Limits(max_frame_bytes=2**20))
    try:
        full, small = whole.read_clip(plain).video, few.read_clip(plain)
    finally:
        whole.close()
        few.close()
    assert small.video.frames.shape == (8, 90, 160, 3)  # 8 x 180 x 320 x 3 is 1.3 MiB
    assert small.warnings == ["the pictures of 320x180 are judged at 160x90 (--max-frame-bytes 1048576)"]
    np.testing.assert_array_equal(small.video.thumbs, full.thumbs)
    halved = full.frames.reshape(8, 90, 2, 160, 2, 3).mean((2, 4))
    assert np.abs(halved - small.video.frames).mean() < 2


def test_sound_is_aligned_and_at_native_rate(reader: MediaReader, plain: Path) -> None:
    audio = reader.read_clip(plain).audio
    assert (audio.rate, audio.samples.dtype, audio.samples.shape[0]) == (48000, np.float32, 2)
    assert audio.start == 0.0
    assert audio.gaps == []
    expected = tone(2.0)[0]
    got = audio.samples[0, : expected.size]
    assert np.corrcoef(got[4800:-4800], expected[4800:-4800])[0, 1] > 0.999  # a shift of one sample gives 0.998


def test_facts(reader: MediaReader, plain: Path) -> None:
    info = reader.probe(plain)
    assert (info.video.codec, info.video.width, info.video.height, info.video.fps) == ("h264", 320, 180, 30.0)
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == ("aac", 48000, 2)
    assert info.duration == pytest.approx(2.0, abs=0.025)
    assert info.size_bytes == plain.stat().st_size


@pytest.mark.parametrize("suffix", ["mkv", "ts", "h264"])
def test_undeclared_bit_rate_is_counted(reader: MediaReader, plain: Path, tmp_path: Path, suffix: str) -> None:
    """The same packets, in a container that does not tell their bit rate."""
    other = tmp_path / f"other.{suffix}"
    with av.open(str(plain)) as source, av.open(str(other), "w") as out:
        kept = {s: out.add_stream_from_template(s) for s in source.streams if suffix != "h264" or s.type == "video"}
        for packet in source.demux(list(kept)):
            if packet.dts is not None:
                packet.stream = kept[packet.stream]
                out.mux(packet)
    declared, counted = (reader.probe(p) for p in (plain, other))
    assert declared.video is not None
    assert counted.video is not None
    if suffix == "h264":  # a raw stream has no times: 60 frames at the 25 per second that FFmpeg takes it for
        assert counted.duration == pytest.approx(60 / 25)
        assert counted.video.bitrate == pytest.approx(declared.video.bitrate * 25 / 30, rel=0.15)
        return
    assert counted.video.bitrate == pytest.approx(declared.video.bitrate, rel=0.15)
    assert declared.audio is not None
    assert counted.audio is not None
    assert counted.audio.bitrate == pytest.approx(declared.audio.bitrate, rel=0.15)


def test_window_in_the_middle(reader: MediaReader, plain: Path) -> None:
    clip = reader.read_clip(plain, DecodeSpec(start=1.1, duration=0.5, segments=1, frames_per_segment=3))
    assert numbers(clip.video.thumbs) == list(range(33, 48))
    assert numbers(clip.video.frames) == [39, 40, 41]
    assert clip.audio.start == pytest.approx(1.1, abs=1e-4)
    assert clip.audio.samples.shape[1] == 24000
    whole = reader.read_clip(plain).audio.samples
    np.testing.assert_allclose(clip.audio.samples, whole[:, 52800:76800], atol=1e-6)


def test_same_request_same_pixels(reader: MediaReader, plain: Path) -> None:
    one, two = reader.read_clip(plain), reader.read_clip(plain)
    np.testing.assert_array_equal(one.video.frames, two.video.frames)
    np.testing.assert_array_equal(one.video.thumbs, two.video.thumbs)
    np.testing.assert_array_equal(one.audio.samples, two.audio.samples)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_late_window_is_reached_by_seeking(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    path = write_clip(
        tmp_path / f"long.{suffix}", steady(250, 8), size=(64, 48), options={"bf": "2", "g": "40"}, sound=tone(31.25)
    )
    clip = reader.read_clip(path, DecodeSpec(start=25.0, duration=2.0, segments=1))
    assert numbers(clip.video.thumbs) == list(range(200, 216))
    assert numbers(clip.video.frames) == [208, 209]
    assert clip.audio.start == pytest.approx(25.0, abs=0.002)
    assert clip.audio.samples.shape[1] == pytest.approx(96000, abs=100)
    assert clip.audio.gaps == []


@pytest.mark.parametrize("suffix", ["ts", "avi", "mov"])
def test_containers_read_in_order(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    options = {} if suffix == "avi" else {"bf": "2", "g": "24"}
    pts = steady(60)
    # AVI would make room for the priming of AAC by showing its first frame longer.
    audio_codec = "pcm_s16le" if suffix == "avi" else "aac"
    path = tmp_path / f"a.{suffix}"
    write_clip(path, pts, codec=codec, options=options, sound=tone(2.0), audio_codec=audio_codec)
    clip = reader.read_clip(path, DecodeSpec(start=1.0, duration=0.5, segments=1))
    shift = clip.info.video.start  # MPEG-TS keeps the priming of AAC before the first frame
    first = np.ceil((1.0 - shift) * 30 - 1e-6)
    assert numbers(clip.video.thumbs) == list(range(int(first), int(first) + 15))
    np.testing.assert_allclose(clip.video.thumb_pts, shift + np.arange(first, first + 15) / 30, atol=1e-3)


@pytest.mark.parametrize(("codec", "suffix"), [("libvpx-vp9", "webm"), ("libsvtav1", "mp4"), ("libx265", "mp4")])
def test_codecs(reader: MediaReader, tmp_path: Path, codec: str, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    fast = {
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
        "libsvtav1": {"preset": "12"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    }
    path = write_clip(tmp_path / f"a.{suffix}", steady(12), size=(160, 96), codec=codec, options=fast[codec])
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == list(range(12))
    assert clip.absent == {"audio": "the file has no audio stream"}
    assert clip.audio is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    pts = np.cumsum([0, *([20, 50, 35, 120] * 8)]).tolist()  # 33, 83, 58, 200 ms
    clip = reader.read_clip(write_clip(tmp_path / f"v.{suffix}", pts), WHOLE)
    assert numbers(clip.video.thumbs) == list(range(33))
    np.testing.assert_allclose(clip.video.thumb_pts, np.array(pts) / TICK, atol=1e-3)
    assert len(set(clip.video.pts.tolist())) == 8


def test_slide_show_window_without_a_new_frame(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "slides.mkv", [0, 10 * TICK, 20 * TICK], sound=tone(1.0))
    clip = reader.read_clip(path, DecodeSpec(start=12.0, duration=4.0))
    assert numbers(clip.video.frames) == [1]
    assert clip.video.pts.tolist() == [10.0]
    assert clip.absent == {"audio": "no audio between 12 and 16 s"}


def test_rotation(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "r.mp4", steady(10))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix lies 40 bytes into the box body
    fixed = 1 << 16
    matrices = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
    for degrees, (a, b, c, d) in matrices.items():
        data[at : at + 36] = struct.pack(">9i", a * fixed, b * fixed, 0, c * fixed, d * fixed, 0, 0, 0, 1 << 30)
        path.write_bytes(data)
        clip = reader.read_clip(path)
        upright = np.rot90(clip.video.frames, -degrees // 90, axes=(1, 2))
        assert numbers(upright) == np.round(clip.video.pts * 30).astype(int).tolist()
        assert numbers(np.rot90(clip.video.thumbs, -degrees // 90, axes=(1, 2))) == list(range(10))
        turned = degrees in (90, 270)
        assert (clip.info.video.rotation, clip.info.video.width) == (degrees, 180 if turned else 320)
        assert clip.video.frames.shape[1:3] == (clip.info.video.height, clip.info.video.width)


def test_ten_bit_becomes_eight(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "ten.mkv", steady(6), codec="ffv1", pixel_format="yuv420p10le")
    clip = reader.read_clip(path)
    assert clip.info.video.bit_depth == 10
    assert clip.video.frames.dtype == np.uint8
    assert numbers(clip.video.frames) == list(range(6))
    assert abs(int(clip.video.frames[5, 10, 10, 0]) - 235) <= 3


def test_odd_size(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "odd.mp4", steady(12), size=(321, 179), pixel_format="yuv444p")
    clip = reader.read_clip(path)
    assert clip.video.frames.shape == (8, 179, 321, 3)
    assert numbers(clip.video.thumbs) == list(range(12))


def test_file_that_starts_at_five_seconds(reader: MediaReader, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mkv", steady(60, start=5.0), sound=tone(2.0), sound_start=5.0)
    clip = reader.read_clip(path, DecodeSpec(start=0.5, duration=1.0))
    assert clip.info.video.start == pytest.approx(0.0, abs=0.03)
    assert clip.info.duration == pytest.approx(2.0, abs=0.05)
    shown = numbers(clip.video.thumbs)
    assert shown == list(range(shown[0], shown[0] + 30))
    assert clip.video.thumb_pts[0] == pytest.approx(shown[0] / 30 + clip.info.video.start, abs=0.002)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_delayed_audio_keeps_its_delay(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"d.{suffix}", steady(90), sound=tone(1.5), sound_start=1.5)
    clip = reader.read_clip(path)
    assert clip.info.video.start == 0.0
    # MP4 keeps one AAC frame of priming (1024 / 48000 = 21 ms) before sound that does not start at 0.
    assert clip.info.audio.start == pytest.approx(1.5 - (0.0213 if suffix == "mp4" else 0), abs=0.002)
    assert clip.audio.start == pytest.approx(clip.info.audio.start, abs=1e-4)
    early = reader.read_clip(path, DecodeSpec(duration=1.0))
    assert early.audio is None
    assert early.absent == {"audio": "no audio between 0 and 1 s"}


def test_hole_in_the_sound_is_filled_and_listed(reader: MediaReader, tmp_path: Path) -> None:
    path = tmp_path / "hole.mkv"
    sound = (tone(2.0)[:1] * 32767).astype(np.int16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for at in range(0, 96000, 960):
            if 48000 <= at < 57600:  # 1.0 .. 1.2 s
                continue
            block = av.AudioFrame.from_ndarray(sound[:, at : at + 960].copy(), "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 48000, at, Fraction(1, 48000)
            out.mux(stream.encode(block))
        out.mux(stream.encode())
    clip = reader.read_clip(path)
    assert [(round(a, 3), round(b, 3)) for a, b in clip.audio.gaps] == [(1.0, 1.2)]
    assert clip.audio.samples.shape == (1, 96000)
    assert not clip.audio.samples[:, 48000:57600].any()
    np.testing.assert_allclose(clip.audio.samples[0, 57600:], tone(2.0)[0, 57600:], atol=1e-4)
    assert clip.absent == {"video": "the file has no video stream"}


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus")]
)
def test_audio_only(reader: MediaReader, tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_clip(tmp_path / f"a.{suffix}", sound=tone(1.0), audio_codec=codec)
    clip = reader.read_clip(path)
    assert clip.video is None
    assert clip.info.video is None
    assert clip.audio.rate == 48000
    assert clip.audio.samples.shape[1] == pytest.approx(48000, abs=2500)
    assert np.abs(clip.audio.samples).max() == pytest.approx(0.5, abs=0.05)
    assert clip.info.duration == pytest.approx(1.0, abs=0.06)


def test_cover_art_is_not_video(reader: MediaReader, tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(picture(3, 64, 48)).save(image, "JPEG")
    mime, jpeg = b"image/jpeg\0", image.getvalue()
    body = b"\0" + mime + b"\x03\0" + jpeg
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = len(frame)
    head = b"ID3\x03\0\0" + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path = write_clip(tmp_path / "c.mp3", sound=tone(1.0), audio_codec="libmp3lame")
    path.write_bytes(head + frame + path.read_bytes())
    clip = reader.read_clip(path)
    assert clip.video is None
    assert clip.absent["video"] == "the file has no video stream (cover art is not video)"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_still_image(reader: MediaReader, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"still%03d.{suffix}"  # a name that FFmpeg would take for a pattern
    Image.fromarray(picture(77, 160, 90)).save(path)
    clip = reader.read_clip(path, DecodeSpec(start=2.0))
    assert clip.info.video.still
    assert (clip.info.duration, clip.info.video.fps) == (0.0, None)
    assert numbers(clip.video.frames) == [77]
    assert clip.video.thumbs.shape == (1, 90, 160)
    assert clip.warnings == []


def test_gif(reader: MediaReader, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    images = [Image.fromarray(picture(n, 160, 90)) for n in range(5)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    clip = reader.read_clip(path)
    assert numbers(clip.video.thumbs) == list(range(5))
    assert clip.info.duration == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("count", "native"), [(1, 1), (3, 3), (9, 8)])
def test_short_clips_never_repeat_a_frame(reader: MediaReader, tmp_path: Path, count: int, native: int) -> None:
    clip = reader.read_clip(write_clip(tmp_path / "s.mp4", steady(count), sound=tone(0.1)))
    assert numbers(clip.video.thumbs) == list(range(count))
    shown = numbers(clip.video.frames)
    assert len(shown) == len(set(shown)) == native
    assert clip.audio.samples.shape[1] >= 4800


def test_edit_list_hides_frames(reader: MediaReader, plain: Path, tmp_path: Path) -> None:
    """A stream copy that begins between two key frames: the hidden frames are decoded but not shown."""
    path = tmp_path / "cut.mp4"
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        tick = source.streams.video[0].time_base
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                # Negative times become an edit list that starts at 0.
                packet.pts -= round(10 / 30 / tick)
                packet.dts -= round(10 / 30 / tick)
                packet.stream = stream
                out.mux(packet)
    clip = reader.read_clip(path)
    shown = numbers(clip.video.thumbs)
    assert shown == list(range(10, 60))
    assert clip.video.thumb_pts[0] == 0.0


def test_only_one_stream_asked_for(reader: MediaReader, plain: Path) -> None:
    clip = reader.read_clip(plain, DecodeSpec(video=False))
    assert clip.video is None
    assert clip.absent == {"video": "video was not asked for"}
    clip = reader.read_clip(plain, DecodeSpec(audio=False))
    assert clip.absent == {"audio": "audio was not asked for"}


@pytest.mark.parametrize(
    "spec",
    [DecodeSpec(start=-1), DecodeSpec(duration=0), DecodeSpec(segments=0), DecodeSpec(video=False, audio=False)],
)
def test_impossible_spec(reader: MediaReader, plain: Path, spec: DecodeSpec) -> None:
    with pytest.raises(ConfigError):
        reader.read_clip(plain, spec)


def test_window_after_the_end(reader: MediaReader, plain: Path) -> None:
    with pytest.raises(NoUsableStream, match="no video between 9 and 17 s"):
        reader.read_clip(plain, DecodeSpec(start=9.0))
