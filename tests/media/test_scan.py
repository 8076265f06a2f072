"""The pass over a whole file against clips of which everything is known, and against FFmpeg's own detectors."""

import av
import numpy as np
import pytest
from faulty_clips import FPS, SECONDS, write

from mllm_avqa.media import DecodeSpec, Limits, MediaReader
from mllm_avqa.whole.overview import look_over
from mllm_avqa.whole.spans import length, union


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "a.mkv"
    return write(
        path, black=[(2, 4)], freeze=[(6, 8)], silence=[(3, 7.5)], full=[(9, 10)], holes=[(11, 11.1)], cuts=(12, 14)
    )


@pytest.fixture(scope="module")
def whole(clip, reader):
    seen = look_over(str(clip), reader)
    assert seen.passed == "done"
    return seen.whole


def fact(whole, name):
    return next(m for m in whole.facts if m.name == name)


def test_spans_are_exact(whole):
    """Analytic: to the frame of the picture, to 10 ms of the sound."""
    expected = {
        "black": [(2.0, 4.0)],
        "freeze": [(5.9, 8.0)],
        "silence": [(3.0, 7.5)],
        "dropouts": [(11.0, 11.1)],
        "clipped": [(9.0, 10.0)],
    }
    for name, spans in expected.items():
        found = fact(whole, name).spans
        assert np.array(union(found, gap=0.02)) == pytest.approx(np.array(spans), abs=0.011), name
    assert [a for a, _ in fact(whole, "scene_cuts").spans if a > 8.5] == pytest.approx([12.0, 14.0], abs=0.01)
    assert fact(whole, "black").value == pytest.approx(100 * 2 / SECONDS, rel=0.01)
    assert fact(whole, "silence").value == pytest.approx(100 * 4.5 / SECONDS, rel=0.01)
    assert whole.faults["video"] == [(2.0, 4.0), (5.9, 8.0)]


def test_every_second_is_told(whole):
    told = whole.timeline.facts
    assert {len(v) for v in told.values()} == {SECONDS}
    assert told["black"][1:5] == [0, 1, 1, 0]
    assert told["silence"][2:9] == [0, 1, 1, 1, 1, 0.5, 0]
    assert told["frames"] == [FPS] * SECONDS
    assert told["scene_cuts"][12] == told["scene_cuts"][14] == 1
    assert told["momentary_loudness"][5] is None
    assert told["clipped"][9] > 50
    assert told["clipped"][8] == 0


def filtered(path, kind, chain, key):
    """Values of one key of a filter's metadata, with the times of their frames (reference run)."""
    found = []
    with av.open(str(path)) as c:
        graph = av.filter.Graph()
        stream = c.streams.video[0] if kind == "video" else c.streams.audio[0]
        source = graph.add_buffer(template=stream) if kind == "video" else graph.add_abuffer(template=stream)
        measure = graph.add(*chain)
        sink = graph.add("buffersink" if kind == "video" else "abuffersink")
        source.link_to(measure)
        measure.link_to(sink)
        graph.configure()
        for frame in [*c.decode(stream), None]:
            source.push(frame)
            while True:
                try:
                    told = sink.pull().metadata
                except (av.BlockingIOError, av.EOFError):
                    break
                if key in told:
                    found.append(float(told[key]))
    return found


@pytest.mark.parametrize(
    ("name", "kind", "chain", "key"),
    [
        ("black", "video", ("blackdetect", "d=0.5:pix_th=0.06"), "lavfi.black_start"),
        ("freeze", "video", ("freezedetect", "d=1"), "lavfi.freezedetect.freeze_start"),
        ("silence", "audio", ("silencedetect", "d=0.3"), "lavfi.silence_start"),
    ],
)
def test_starts_are_those_of_the_detectors_of_ffmpeg(clip, whole, name, kind, chain, key):
    ours = [a for a, _ in fact(whole, name).spans]
    theirs = [t for t in filtered(clip, kind, chain, key) if name != "freeze" or not 1 < t < 4]  # black stands still
    assert ours == pytest.approx(theirs, abs=0.011)


def test_loudness_is_that_of_the_windows(clip, reader, whole):
    """One standard, two implementations: BS.1770-5 allows 0.1 LU."""
    from mllm_avqa.evidence import measure
    from mllm_avqa.schema.clip import DecodeSpec

    facts = {m.name: m for m in measure(reader.read_clip(clip, DecodeSpec(duration=SECONDS + 1.0)))}
    for name in ("loudness", "black", "silence", "freeze", "dropouts", "duplicate_frames"):
        assert fact(whole, name).value == pytest.approx(facts[name].value, abs=0.15), name
        assert np.array(fact(whole, name).spans) == pytest.approx(np.array(facts[name].spans), abs=0.002), name


def test_a_stream_that_is_missing_for_a_time(tmp_path, reader):
    path = write(tmp_path / "late.mkv", sound_start=3.0, seconds=6)
    whole = look_over(str(path), reader).whole
    assert fact(whole, "av_start_offset").value == pytest.approx(3000, abs=20)
    assert fact(whole, "stream_gaps").spans[0] == pytest.approx((0.0, 3.0), abs=0.05)
    assert length(whole.faults["audio"]) == pytest.approx(3.0, abs=0.05)


def test_a_pass_ends_when_its_time_is_over(clip):
    with MediaReader(limits=Limits(max_pass_seconds=0.0)) as reader:
        seen = look_over(str(clip), reader)
        assert reader.probe(str(clip)).duration == pytest.approx(SECONDS, abs=0.1)  # the process lives on
    assert seen.passed == "partly"
    assert not seen.whole.complete
    assert "--max-pass-seconds" in seen.warnings[0]


def test_still_images_and_refused_passes(tmp_path, reader, monkeypatch, clip):
    from PIL import Image

    from mllm_avqa.schema.errors import MediaTimeout

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    assert look_over(str(tmp_path / "a.png"), reader).passed == "needless"
    assert look_over(str(clip), reader, full_pass=False).passed == "off"

    def slow(path):
        raise MediaTimeout("too slow")

    monkeypatch.setattr(reader, "scan", slow)
    seen = look_over(str(clip), reader)
    assert (seen.passed, seen.whole) == ("failed", None)
    assert "too slow" in seen.warnings[0]


def test_a_file_that_one_window_holds_is_decoded_once_and_told_the_same(tmp_path, reader, monkeypatch):
    path = str(write(tmp_path / "b.mkv", black=[(2, 4)], silence=[(3, 5)], full=[(5, 6)], cuts=(1,), seconds=7))
    passed = look_over(path, reader)
    at_once = look_over(path, reader, window=8.0)
    assert at_once.whole is None and at_once.passed == "failed"  # nothing is known until the window is there
    monkeypatch.setattr(reader, "scan", None)
    at_once.take(reader.read_clip(path, DecodeSpec(duration=8.0)))
    assert at_once.passed == "done"
    for mine, other in zip(at_once.whole.facts, passed.whole.facts, strict=True):
        assert mine.name == other.name
        assert mine.value == pytest.approx(other.value, rel=0.01, abs=0.02), mine.name
        assert np.array(mine.spans) == pytest.approx(np.array(other.spans), abs=0.011), mine.name
