"""From files and records to windows: spans, texts, and what is read once."""

import numpy as np
import pytest
from pydantic import ValidationError
from test_rater import write_video

from mllm_avqa.media import MediaReader
from mllm_avqa.schema.card import Card, ViewSpec
from mllm_avqa.schema.errors import CheckpointError, MediaNotFound
from mllm_avqa.schema.records import Record
from mllm_avqa.windows import ahead, file_windows, record_windows, window_starts
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
    assert window_starts(4.4, SPEC) == [0.0, 2.0]  # the tail is shorter than a quarter of a window
    starts = window_starts(100.0, SPEC.model_copy(update={"max_windows": 3}))
    assert starts == [0.0, 48.0, 98.0]


def test_made_ahead_in_order():
    assert list(ahead(lambda x: x * x, range(5), chunk=2, held=3, threads=2)) == [[0, 1], [4, 9], [16]]
