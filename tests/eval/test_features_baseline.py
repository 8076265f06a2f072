"""Signal facts as features: missing ones, the cache, ratings in their place, and whether a known relation is learnt."""

from __future__ import annotations

import csv
import json

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from eval import measuring
from eval.__main__ import app
from eval.measuring import from_ratings, measured
from eval.studies.features import fit, matrix, regress, write_predictions
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.records import Label, Record, write_records
from mllm_avqa.windows import worst_evidence


@pytest.fixture(scope="module", autouse=True)
def one_setting():
    """Nothing here depends on how a forest's settings are chosen; trying one of them is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.studies.features.FOREST_GRID", {"randomforestregressor__min_samples_leaf": [2]})
        yield


def fact(name, value, modality="video", severity="none"):
    return Measurement(name=name, modality=modality, value=value, unit="x", severity=severity)


def made(n, seed=0, test=0.3):
    """Records whose video label is 5 - 4 blur and whose audio label depends on whether `speech` could be measured."""
    rng = np.random.default_rng(seed)
    records, facts = [], {}
    for i in range(n):
        blur, speech = rng.uniform(0, 1), (None if rng.uniform() < 0.5 else rng.uniform())
        labels = {
            "video": Label(mean=5 - 4 * blur),
            "audio": Label(mean=(80 if speech is None else 20) + rng.uniform(-4, 4), scale=(0, 100)),
        }
        split = "test" if i < test * n else "train"
        r = Record(id=f"r{i}", media=f"{i}.mp4", dataset="d", group=f"g{i}", split=split, labels=labels)
        records.append(r)
        facts[r.id] = [
            fact("blur", blur),
            fact("flat", 1.0),
            fact("loud", rng.uniform(), "audio"),
            fact("speech", speech, "audio"),
            fact("never", None),
        ]
    return records, facts


def test_matrix_marks_what_is_missing():
    records, facts = made(3)
    x = matrix(records, facts | {"r1": [fact("blur", None), fact("other", 1.0)]}, ["loud", "blur"])
    assert x.shape == (3, 2)
    assert np.isnan(x[1]).all() and x[0, 1] == facts["r0"][0].value and x[2, 0] == facts["r2"][2].value


@pytest.fixture(scope="module")
def learnt():
    records, facts = made(90)
    facts.pop("r0")
    return records, regress(records, facts, {"r0": "not_media: broken"}, "test", "r.jsonl", draws=100)


def test_known_relations_are_learnt(learnt):
    _, found = learnt
    by_name = {(r.aspect, r.model): r for r in found.study.results}
    assert set(by_name) == {(a, m) for a in ("video", "audio") for m in ("svr", "forest")}
    for model in ("svr", "forest"):
        assert by_name["video", model].agreement.srcc.value > 0.9
        # Only the missing-value column can tell the two groups of audio labels apart.
        assert by_name["audio", model].agreement.plcc.value > 0.95
    assert next(iter(by_name["video", "forest"].important)) == "blur"
    assert "missing speech" in list(by_name["audio", "forest"].important)[:2]


def test_what_could_not_be_measured_is_told(learnt):
    _, found = learnt
    s = found.study
    assert s.never == ["never"] and list(s.missing) == ["speech"] and 0.3 < s.missing["speech"] < 0.7
    assert s.failed == {"r0": "not_media: broken"}
    a = s.results[0].agreement
    assert (a.n, a.m) == (26, 27)  # the broken clip is counted, not forgotten
    assert any("overall: 0 training clips" in n for n in s.notes)
    assert all(r.facts == 2 for r in s.results)  # video facts for video, audio facts for audio, none that never was


def test_predictions_stay_on_the_scale_and_in_the_file(learnt, tmp_path):
    records, found = learnt
    assert write_predictions(tmp_path / "out.csv", records, found.predictions) == 27
    with (tmp_path / "out.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert list(rows[0]) == ["id", "path", "video_svr", "video_forest", "audio_svr", "audio_forest"]
    assert rows[0]["id"] == "r0" and rows[0]["video_svr"] == ""
    assert all(1 <= float(r["audio_svr"]) <= 5 for r in rows[1:])


def test_training_contents_in_the_test_are_told():
    records, facts = made(60)
    records[-1] = records[-1].model_copy(update={"group": "g0+x"})
    assert any("1 contents" in n and "g0" in n for n in regress(records, facts, {}, "test", "f", 50).study.notes)


def test_empty_sides_are_refused():
    records, facts = made(40)
    with pytest.raises(ConfigError, match=r"split 'val'.*there are: test, train"):
        regress(records, facts, {}, "val", "f")
    with pytest.raises(ConfigError, match="overall: 0 training clips"):
        regress(records[8:16], facts, {}, "test", "f")


def test_settings_are_chosen_without_the_held_out_content():
    x = np.arange(30.0)[:, None]
    chosen = fit("svr", x, x[:, 0], [f"g{i // 3}" for i in range(30)])
    for train, test in chosen.cv:
        assert not {i // 3 for i in train} & {i // 3 for i in test}


# ---- where facts come from ------------------------------------------------------------------------------------------


def synth(path, seed):
    picture = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, k, 1), format="rgb24")))
        out.mux(stream.encode(None))


def clip(name, media, **more):
    return Record(id=name, media=media, dataset="d", group=name, **more)


def test_one_content_is_learnt_though_nothing_can_choose_settings():
    x = np.linspace(0, 1, 24)[:, None]
    model = fit("forest", x, 5 - 4 * x[:, 0], ["talker"] * 24)
    low, high = model.predict([[0.1], [0.9]])
    assert low > high + 2


def test_worst_window_as_in_a_rating():
    windows = [[fact("blur", 1.0, severity="faint"), fact("noise", 2.0)], [fact("blur", 3.0, severity="strong")]]
    assert [(m.name, m.value) for m in worst_evidence(windows)] == [("blur", 3.0), ("noise", 2.0)]


def test_measured_once_and_kept_by_content(tmp_path, monkeypatch):
    synth(tmp_path / "a.mp4", 1)
    (tmp_path / "same.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"not a clip")
    records = [clip("a", "a.mp4"), clip("same", "same.mp4"), clip("b", "broken.mp4"), clip("n", "none.mp4")]
    folder = tmp_path / "facts"
    facts, failed = measured(records, tmp_path, folder, context="none")
    assert set(failed) == {"b", "n"} and failed["b"].startswith("not_media") and str(tmp_path) not in str(failed)
    assert facts["a"] == facts["same"] and {m.name for m in facts["a"]} >= {"blur", "loudness", "caption_speed"}
    assert len(list(folder.iterdir())) == 1  # one content, one file, no leftovers

    asked = []
    monkeypatch.setattr(measuring, "measure_clip", lambda job: asked.append(job.media) or (job.target, "config: no"))
    again, failed = measured(records[:3], tmp_path, folder, context="none")
    assert again["a"] == facts["a"] and [m.rsplit("/", 1)[-1] for m in asked] == ["broken.mp4"]
    asked.clear()
    measured([clip("a", "a.mp4", start=0.1, end=0.3)], tmp_path, folder, context="none")
    measured([clip("a", "a.mp4", context={"user": "a caption"})], tmp_path, folder, context="none")
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    measured([clip("a", "a.mp4")], tmp_path, folder, context="fast")
    (tmp_path / "a.mp4").write_bytes(b"other content")
    measured([clip("a", "a.mp4")], tmp_path, folder, context="none")
    assert len(asked) == 4  # another span, text, context and content are each measured anew


def test_facts_of_ratings(tmp_path):
    evidence = [m.model_dump() for m in (fact("blur", 0.5), fact("noise", None))]
    rows = [
        {"path": "a.mp4", "file": "/x/a.mp4", "status": "ok", "rating": {"evidence": evidence}},
        {"path": "b.mp4", "status": "error", "error_kind": "not_media", "error": "no container", "rating": None},
        {"path": "c.mp4", "evidence": evidence, "media": {"duration": 3.02}},
    ]
    path = tmp_path / "ratings.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    records = [clip(n, f"{n}.mp4") for n in "abcd"] + [clip("span", "a.mp4", start=1.0)]
    records += [clip("all", "c.mp4", start=0.0, end=3.0), clip("half", "c.mp4", start=0.0, end=1.5)]
    facts, failed = from_ratings(records, path)
    assert {n: [m.value for m in f] for n, f in facts.items()} == {n: [0.5, None] for n in ("a", "c", "all")}
    assert "part of a file" in failed["half"]
    assert (
        failed["b"] == "not_media: no container" and "no rating" in failed["d"] and "part of a file" in failed["span"]
    )
    path.write_text(json.dumps({"path": "a.mp4", "overall": 3.0}) + "\n")
    with pytest.raises(ConfigError, match=r"ratings\.jsonl:1: .*--full.*--ratings"):
        from_ratings(records, path)


def test_command(tmp_path):
    records, facts = made(60)
    lines = [
        {"path": r.media, "evidence": [m.model_dump() for m in facts[r.id]], "status": "ok"}
        for r in records
        if r.id != "r3"
    ]
    (tmp_path / "ratings.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    write_records(tmp_path / "records.jsonl", records)
    command = ["features", str(tmp_path / "records.jsonl"), "--ratings", str(tmp_path / "ratings.jsonl")]
    result = CliRunner().invoke(app, [*command, "--draws", "100", "-o", str(tmp_path / "out.csv")])
    assert result.exit_code == 1, result.output  # a clip without facts is a partial failure
    assert "| video, svr" in result.stdout and "r3: no rating" in result.stderr
    scored = [
        "correlate",
        str(tmp_path / "out.csv"),
        str(tmp_path / "records.jsonl"),
        "--pred-column",
        "video=video_svr",
    ]
    again = CliRunner().invoke(app, [*scored, "--json", "--draws", "100"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["aspects"]["video"]["n"] == 17
    assert CliRunner().invoke(app, [*command, "--split", "val"]).exit_code == 2
