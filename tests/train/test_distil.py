"""A teacher's ratings become the labels that records are trained with."""

import json

import numpy as np
import pytest

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.levels import WORDS
from mllm_avqa.schema.records import Label, Record
from train.config import Distil
from train.distil import distilled, read_ratings
from train.losses import target

SURE = [0.7, 0.2, 0.1, 0.0, 0.0]  # excellent .. bad: mean 4.6


def score(probs):
    return {"score": 1.0, "std": 0.0, "level": "good", "probs": dict(zip(WORDS, probs, strict=True)), "mass": 1.0}


def row(file, **scores):
    media = json.loads(media_info())
    rating = {"path": str(file), "scores": {a: p and score(p) for a, p in scores.items()}, "media": media}
    return json.dumps({"file": str(file), "status": "ok", "rating": rating})


def media_info():
    from mllm_avqa.schema.clip import MediaInfo

    fields = {n: f for n, f in MediaInfo.model_fields.items() if f.is_required()}
    given = {"container": "mp4", "duration": 1.0, "size_bytes": 1, "path": "x"}
    return json.dumps({n: given.get(n) for n in fields})


def record(name, **labels):
    return Record(id=name, media=f"clips/{name}.mp4", dataset="d", group=name, split="train", labels=labels)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_teachers_distribution_is_the_target(tmp_path, caplog):
    clip = tmp_path / "clips" / "a.mp4"
    ratings = read_ratings(write(tmp_path / "t.jsonl", row(clip, overall=SURE, video=SURE, sync=None)))
    own = Label(mean=2.0, std=0.5)
    with caplog.at_level("INFO"):
        a, b = distilled([record("a", overall=own), record("b", overall=own)], tmp_path, ratings, Distil(ratings="t"))
    t = target(a.labels["overall"])
    assert t.probs == pytest.approx(SURE)
    assert t.mean == pytest.approx(4.6)
    assert set(a.labels) == {"overall", "video"}  # what had no label is taught too, what was not rated is not
    assert b.labels == {"overall": own}  # not rated: keeps its label
    assert "1 records taught, 1 labels where none was, 1 records as they were" in caplog.text


def test_share_mixes_with_the_records_own_label(tmp_path):
    ratings = read_ratings(write(tmp_path / "t.jsonl", row(tmp_path / "clips" / "a.mp4", overall=SURE, video=SURE)))
    own = Label(mean=1.0, votes=[1, 0, 0, 0, 0])  # every vote bad
    (a,) = distilled([record("a", overall=own)], tmp_path, ratings, Distil(ratings="t", share=0.25, unlabelled=False))
    assert target(a.labels["overall"]).probs == pytest.approx([0.175, 0.05, 0.025, 0.0, 0.75])
    assert set(a.labels) == {"overall"}


def test_teachers_of_a_folder_are_averaged_and_a_later_row_replaces_an_earlier_one(tmp_path):
    clip = tmp_path / "clips" / "a.mp4"
    low = SURE[::-1]
    write(tmp_path / "r" / "1.jsonl", row(clip, overall=low), row(clip, overall=SURE))
    write(tmp_path / "r" / "2.jsonl", row(clip, overall=low))
    ratings = read_ratings(tmp_path / "r")
    assert ratings[clip.resolve()]["overall"] == pytest.approx(np.mean([SURE, low], axis=0))


def test_clips_rated_on_another_machine_are_found_by_the_end_of_their_path(tmp_path):
    elsewhere = ["/data/x/clips/a.mp4", "/data/y/other/b.mp4", "/1/clips/c.mp4", "/2/clips/c.mp4"]
    ratings = read_ratings(write(tmp_path / "t.jsonl", *(row(p, overall=SURE) for p in elsewhere)))
    out = distilled([record("a"), record("b"), record("c")], tmp_path, ratings, Distil(ratings="t"))
    assert [bool(r.labels) for r in out] == [True, False, False]  # b: another folder; c: two candidates


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file": "a", "status": "ok", "overall": 3.0}', "--full"),
        ("{", r"t\.jsonl:1: not a rating"),
        ("[]", r"t\.jsonl:1: not a rating"),
        ('{"file": "a", "status": "error"}', "not one clip was rated"),
    ],
)
def test_files_that_hold_no_ratings(tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        read_ratings(write(tmp_path / "t.jsonl", line))


def test_nothing_rated_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_ratings(tmp_path / "none")
    ratings = read_ratings(write(tmp_path / "t.jsonl", row("/z/q.mp4", overall=SURE)))
    with pytest.raises(ConfigError, match="no record was rated"):
        distilled([record("a")], tmp_path, ratings, Distil(ratings="t"))
