"""The pure parts: which frames are planned, where decoding begins, how sound is laid on the timeline."""

from __future__ import annotations

import socket
import threading
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from mllm_avqa.media import wire
from mllm_avqa.media.cutoff import cut_off
from mllm_avqa.media.orientation import from_display_matrix
from mllm_avqa.media.packets import Clock, PacketEntry, PacketLog, seconds
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.plan import Run, plan_runs
from mllm_avqa.media.soundtrack import Soundtrack
from mllm_avqa.schema import errors


@pytest.mark.parametrize(
    ("pts", "end", "segments", "per_segment", "expected"),
    [
        ([], 10, 4, 2, []),
        ([5], 6, 4, 2, [Run(5, 6, 1)]),
        (range(0, 100, 10), 100, 2, 1, [Run(20, 50, 1), Run(70, 100, 1)]),
        (range(0, 100, 10), 100, 2, 3, [Run(10, 50, 3), Run(60, 100, 3)]),
        ([0, 1, 2, 3, 90], 100, 2, 2, [Run(2, 50, 2), Run(90, 100, 1)]),  # 4 frames, then a hole
        ([0, 1, 2, 98, 99], 100, 4, 1, [Run(2, 25, 1), Run(98, 100, 1)]),  # two parts are empty
    ],
)
def test_plan(pts: list[int], end: int, segments: int, per_segment: int, expected: list[Run]) -> None:
    assert plan_runs(list(pts), end, segments, per_segment) == expected


def test_plan_is_the_same_for_rounded_timestamps() -> None:
    """24 fps in 1/12288 s (MP4) and in 1 ms (Matroska): the middle of a part falls on a frame."""
    exact, rounded = [n * 512 for n in range(192)], [round(n * 1000 / 24) for n in range(192)]
    one, two = plan_runs(exact, 192 * 512, 4, 2), plan_runs(rounded, 7999, 4, 2)
    assert [exact.index(run.first) for run in one] == [rounded.index(run.first) for run in two] == [24, 72, 120, 168]


def _packet(pts: int, dts: int, key: bool = False, discard: bool = False) -> SimpleNamespace:
    return SimpleNamespace(pts=pts, dts=dts, is_keyframe=key, is_discard=discard, duration=1)


def _log(*packets: SimpleNamespace) -> PacketLog:
    log, clock = PacketLog(), Clock(SimpleNamespace(time_base=Fraction(1, 30), guessed_rate=Fraction(30)))
    for packet in packets:
        log.add(PacketEntry.of(packet, clock), 0)
    return log


def test_open_gop_begins_before_the_frames_that_lean_on_it() -> None:
    # File order; frames 5 and 6 are stored after key frame 7 but shown before it and refer to key frame 0.
    key = _packet(7, 2, key=True)
    log = _log(_packet(0, 0, key=True), _packet(4, 1), key, _packet(5, 3), _packet(6, 4), _packet(8, 5))
    assert log.decoding_start(5, 9).pts == 0
    assert log.decoding_start(7, 9).pts == 7
    assert log.shown(5, 9) == [5, 6, 7, 8]


def test_edit_list_begins_with_the_hidden_key_frame() -> None:
    hidden = [_packet(-2, -3, key=True, discard=True), _packet(-1, -2, discard=True)]
    log = _log(*hidden, _packet(0, -1), _packet(1, 0, key=True))
    assert log.decoding_start(0, 2).pts == -2
    assert log.shown(-5, 2) == [0, 1]


def test_display_matrix() -> None:
    fixed, image = 1 << 16, np.arange(6).reshape(2, 3)
    turn = {
        (1, 0, 0, 1): image,
        (0, -1, 1, 0): np.rot90(image),
        (-1, 0, 0, -1): np.rot90(image, 2),
        (0, 1, -1, 0): np.rot90(image, 3),
        (-1, 0, 0, 1): image[:, ::-1],
        (1, 0, 0, -1): image[::-1],
        (0, 1, 1, 0): image.T,
        (0, -1, -1, 0): np.rot90(image, 2).T,
    }
    for (a, b, c, d), expected in turn.items():
        values = np.array([a * fixed, b * fixed, 0, c * fixed, d * fixed, 0, 0, 0, 1 << 30], np.int32)
        orientation = from_display_matrix(values)
        np.testing.assert_array_equal(orientation.apply(image), expected)
        assert orientation.size(3, 2) == expected.shape[::-1]


def _sound(samples: np.ndarray, form: str = "fltp", rate: int = 1000, layout: str = "mono") -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples, form, layout)
    frame.sample_rate = rate
    return frame


def test_soundtrack_jitter_gap_and_overlap() -> None:
    track = Soundtrack(0.0, 10.0)
    block = np.ones((1, 100), np.float32)
    for time in (0.5, 0.605, 0.8, 0.85):  # 5 ms of jitter; a hole of 0.1 s; 50 ms that are there already
        track.add(_sound(block), time)
    result = track.track()
    assert result.start == 0.5
    assert result.gaps == [(0.7, 0.8)]
    assert result.samples.shape == (1, 450)
    assert not result.samples[0, 200:300].any()
    assert result.samples[0, 300:].all()
    assert track.warnings == ["audio timestamps overlap; the later samples were dropped"]


def test_soundtrack_forgives_vorbis_its_timestamps() -> None:
    block = np.ones((1, 100), np.float32)
    for codec, gaps in (("vorbis", []), ("aac", [(0.1, 0.12)])):
        track = Soundtrack(0.0, 10.0, codec)
        track.add(_sound(block), 0.0)
        track.add(_sound(block), 0.12)
        assert track.track().gaps == gaps


def test_soundtrack_is_clipped_to_its_window_and_a_wild_timestamp_costs_nothing() -> None:
    track = Soundtrack(1.0, 2.0)
    track.add(_sound(np.ones((1, 500), np.float32)), 0.75)
    track.add(_sound(np.ones((1, 500), np.float32)), 1e9)
    result = track.track()
    assert (result.start, result.samples.shape) == (1.0, (1, 1000))
    assert result.gaps == [(1.25, 2.0)]
    empty = Soundtrack(5.0, 6.0)
    empty.add(_sound(np.ones((1, 500), np.float32)), 0.0)
    assert empty.track() is None


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [("s16", -16384, -0.5), ("s16p", 16384, 0.5), ("u8", 64, -0.5), ("s32", 1 << 30, 0.5), ("flt", 0.25, 0.25)],
)
def test_sample_formats(form: str, value: float, expected: float) -> None:
    dtype = {"s16": np.int16, "s16p": np.int16, "u8": np.uint8, "s32": np.int32, "flt": np.float32}[form]
    shape = (2, 10) if form.endswith("p") else (1, 20)
    track = Soundtrack(0.0, 1.0)
    track.add(_sound(np.full(shape, value, dtype), form, layout="stereo"), 0.0)
    samples = track.track().samples
    assert samples.shape == (2, 10)
    np.testing.assert_allclose(samples, expected)


@pytest.mark.parametrize("layout", ["5.1", "7.1", "hexadecagonal"])
def test_many_planes(layout: str) -> None:
    """Eight and more channels of their own: PyAV counts one too many, and read beyond it would end the process."""
    channels = av.AudioLayout(layout).nb_channels
    samples = np.arange(channels, dtype=np.float32).repeat(64).reshape(channels, 64) / 32
    packed = _sound(np.ascontiguousarray(samples.T).reshape(1, -1), "flt", layout=layout)
    (planar,) = av.AudioResampler("fltp", layout, 1000).resample(packed)
    track = Soundtrack(0.0, 1.0)
    track.add(planar, 0.0)
    np.testing.assert_array_equal(track.track().samples, samples)


def test_soundtrack_that_changes_its_layout() -> None:
    track = Soundtrack(0.0, 10.0)
    track.add(_sound(np.ones((2, 1024), np.float32), layout="stereo", rate=48000), 0.0)
    track.add(_sound(np.ones((1, 1024), np.float32), rate=48000), 1024 / 48000)
    assert track.track().samples.shape == (2, 2048)
    assert "changes its rate or channels" in track.warnings[0]


def test_cut_off(plain: Path, faststart: Path, tmp_path: Path) -> None:
    assert not cut_off(str(plain))
    assert not cut_off(str(faststart))
    for source in (plain, faststart):
        (tmp_path / "a.mp4").write_bytes(source.read_bytes()[:-100])
        assert cut_off(str(tmp_path / "a.mp4"))


def test_wire_round_trip_and_refusals() -> None:
    left, right = socket.socketpair()
    arrays = [np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::-1], np.zeros((0, 2), np.float32), np.arange(3.0)]
    with left, right:
        sender = threading.Thread(target=wire.send, args=(left, {"path": "\udcff"}, arrays))
        sender.start()
        header, got = wire.receive(right, 1000)
        sender.join()
        assert header == {"path": "\udcff"}
        for one, two in zip(arrays, got, strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
        wire.send(left, {}, arrays)
        with pytest.raises(wire.ConnectionLost, match="more data"):
            wire.receive(right, 5)
    with pytest.raises(wire.ConnectionLost):
        wire.unpack({"info": {"path": 3}}, [])


def test_errors_cross_the_wire_by_name_only() -> None:
    error = wire.unpack_error(wire.pack_error(errors.MediaTooLarge("x")))
    assert (type(error), str(error)) == (errors.MediaTooLarge, "x")
    assert type(wire.unpack_error({"error": "annotations", "message": "y"})) is errors.MediaError


def test_unsupported_colour_matrix_is_no_reason_to_fail() -> None:
    pictures = Pictures([Run(0, 2, 1)], 80, from_display_matrix(np.array([1, 0, 0, 0, 1, 0, 0, 0, 1])))
    for ticks, matrix in enumerate((8, 1)):  # YCgCo, BT.709
        frame = av.VideoFrame.from_ndarray(np.full((90, 160), 100, np.uint8), "gray").reformat(format="yuv420p")
        frame.colorspace = matrix
        pictures.add(frame, ticks, ticks / 30)
    track = pictures.track()
    assert track.frames.shape == (1, 90, 160, 3)
    assert track.thumbs.shape == (2, 45, 80)
    assert pictures.warnings == ["the colour matrix is not supported; colours are read as BT.601"]


def test_frame_size_that_changes() -> None:
    pictures = Pictures([Run(0, 2, 2)], 160, from_display_matrix(np.array([1, 0, 0, 0, 1, 0, 0, 0, 1])))
    for ticks, size in enumerate(((320, 180), (160, 90))):
        pictures.add(av.VideoFrame.from_ndarray(np.zeros((*size[::-1], 3), np.uint8), "rgb24"), ticks, ticks / 30)
    assert pictures.track().frames.shape == (2, 180, 320, 3)
    assert pictures.track().thumbs.shape == (2, 90, 160)
    assert "frame size changes" in pictures.warnings[0]


@pytest.mark.parametrize("base", [Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 44100), Fraction(1, 1000)])
@pytest.mark.parametrize("origin", [Fraction(0), Fraction(-1024, 44100), Fraction(126000, 90000), Fraction(1, 7)])
def test_seconds_round_like_fractions(base: Fraction, origin: Fraction) -> None:
    for ticks in (-5, 0, 1, 7, 100003, 2**33 + 1):
        assert seconds(ticks, base, origin) == float(ticks * base - origin)
