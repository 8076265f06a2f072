"""From files and records to windows: spans, texts, and what is read once."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from test_rater import write_video

from mllm_avqa.media import MediaReader
from mllm_avqa.schema.card import Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError, MediaNotFound
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Record
from mllm_avqa.windows import ahead, file_windows, record_windows, window_starts, worst_evidence
from train.cache import build, load

SPEC = ViewSpec(window_seconds=2.0, hop_seconds=2.0)


@pytest.fixture(scope="module")
def reader():
    with MediaReader() as reader:
        yield reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", seconds=5.0)
    return folder


def record(name="a", **more):
    return Record(id=name, media="a.mp4", dataset="d", group="g", **more)


def test_training_sees_the_span_of_a_record_and_nothing_else(folder, tmp_path, reader):
    """Two spans of one file are two clips, the very ones that evaluation sees."""
    spans = {"first": (0.0, 1.0), "third": (2.0, 3.0)}
    records = [record(name, start=a, end=z) for name, (a, z) in spans.items()]
    paths, errors = build(records, folder, tmp_path, SPEC)
    assert not errors
    kept = {name: load(path) for name, path in paths.items()}
    assert not np.array_equal(kept["first"].views.whole, kept["third"].views.whole)
    for r in records:
        (seen,) = record_windows(r, folder, reader, SPEC)
        assert (seen.start, seen.end) == pytest.approx(spans[r.id], abs=0.05)
        assert np.array_equal(kept[r.id].views.whole, seen.views.whole)
        assert np.array_equal(kept[r.id].views.sound, seen.views.sound)


def test_windows_of_a_span_end_with_it(folder, reader):
    windows = list(record_windows(record(start=1.0, end=4.0), folder, reader, SPEC))
    assert [(p.start, p.end) for p in windows] == [pytest.approx(s, abs=0.11) for s in ((1.0, 3.0), (3.0, 4.0))]
    whole = list(file_windows(str(folder / "a.mp4"), reader, SPEC))
    assert [p.start for p in whole] == pytest.approx([0.0, 2.0, 4.0], abs=0.05)


def test_texts_of_every_origin_reach_the_window(folder, reader):
    texts = {"user": "a title", "asr": "spoken words", "ocr": "a sign"}
    p = next(record_windows(record(context=texts), folder, reader, SPEC, context="none"))
    assert {i.origin: i.text for i in p.context.items} == texts


def test_a_record_without_its_file_says_which(folder, reader):
    with pytest.raises(MediaNotFound, match=r"record b .*gone\.mp4"):
        list(record_windows(Record(id="b", media="gone.mp4", dataset="d", group="g"), folder, reader, SPEC))


def test_subtitles_are_read_once_a_file(folder, reader, monkeypatch):
    asked = []
    info = reader.probe(folder / "a.mp4").model_copy(update={"subtitle_streams": 1})
    monkeypatch.setattr(reader, "probe", lambda path: info)
    monkeypatch.setattr(reader, "read_subtitles", lambda path: asked.append(path) or [])
    assert len(list(file_windows(str(folder / "a.mp4"), reader, SPEC))) == 3
    assert len(asked) == 1


@pytest.mark.parametrize("views", [{"hop_seconds": 0}, {"hop_seconds": -1}, {"window_seconds": 0}])
def test_windows_without_end_are_refused_by_the_card(views, tmp_path):
    with pytest.raises(ValidationError, match="greater than 0"):
        ViewSpec(**views)
    ((name, value),) = views.items()
    (tmp_path / "avqa.yaml").write_text(f"name: x\nfamily: qwen2_5_omni\nviews: {{{name}: {value}}}\n")
    with pytest.raises(CheckpointError, match=rf"{name}[\s\S]*greater than 0"):
        Card.load(tmp_path)


def test_long_files_are_sampled_evenly():
    assert window_starts(0.0, SPEC) == [0.0]
    assert window_starts(4.7, SPEC) == [0.0, 2.0, 4.0]
    starts = window_starts(100.0, SPEC.model_copy(update={"max_windows": 3}))
    assert starts == [0.0, 48.0, 98.0]


def test_every_tail_is_in_a_window():
    """A short one is in one more window, which ends with the file."""
    spec = ViewSpec(window_seconds=8.0, hop_seconds=8.0)
    assert window_starts(9.92, spec) == [0.0, 1.92]
    assert window_starts(10.0, spec) == [0.0, 2.0]  # a quarter of a window: still short
    assert window_starts(10.1, spec) == [0.0, 8.0]
    assert window_starts(17.5, spec) == [0.0, 8.0, 9.5]
    assert window_starts(8.24, spec) == window_starts(8.0, spec) == window_starts(3.0, spec) == [0.0]
    for tenths in range(1, 400):
        starts = window_starts(tenths / 10, spec)
        assert starts[-1] + 8 > tenths / 10 - 0.25
        assert all(b - a <= 8 for a, b in pairwise(starts))


def test_a_short_tail_of_a_file_is_judged(folder, reader):
    spec = ViewSpec(window_seconds=4.2, hop_seconds=4.2)
    windows = list(file_windows(str(folder / "a.mp4"), reader, spec))
    assert [p.start for p in windows] == pytest.approx([0.0, 0.8], abs=0.11)
    assert windows[-1].end == pytest.approx(5.0, abs=0.11)


def test_a_measured_value_stands_for_the_clip():
    """A window that could not be measured says less than one where nothing was found."""

    def fact(value, severity="none"):
        return Measurement(name="snr", modality="audio", value=value, unit="dB", severity=severity)

    for values in ([None, 40.0], [40.0, None]):
        (found,) = worst_evidence([fact(v)] for v in values)
        assert found.value == 40.0
    (found,) = worst_evidence([[fact(40.0)], [fact(9.0, "strong")], [fact(None)]])
    assert found.value == 9.0


def test_made_ahead_in_order():
    assert list(ahead(lambda x: x * x, range(5), chunk=2, held=3, threads=2)) == [[0, 1], [4, 9], [16]]


def test_the_next_one_is_made_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]
    made = ahead(lambda k: begun[k].set(), range(3))
    next(made)
    assert begun[1].wait(10)
    assert not begun[2].is_set()
    made.close()
