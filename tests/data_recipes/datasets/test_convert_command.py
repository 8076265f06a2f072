"""`convert` and `datasets` as a user calls them, above all on a file of their own."""

from __future__ import annotations

import json

import pytest
from dataset_trees import media, put
from typer.testing import CliRunner

from data_recipes.__main__ import app
from mllm_avqa.schema.records import read_records

FLAGS = ["--name-column", "clip", "--score-column", "video=mos", "--scale", "1:5", "--higher-is-better"]


@pytest.fixture
def clips(tmp_path):
    media(tmp_path, "a.mp4", "b.mp4")
    return put(tmp_path, "mine.csv", "clip,mos,sd,scene,fold\na.mp4,3.5,0.5,x,training\nb.mp4,2,0.7,x,test\n")


def call(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_custom_csv(clips, tmp_path):
    out = tmp_path / "sub" / "records.jsonl"
    extra = ["--std-column", "video=sd", "--group-column", "scene", "--split-column", "fold", "--dataset", "mine"]
    done = call("custom", clips, "-o", out, *FLAGS, *extra)
    assert done.exit_code == 0, done.output
    a, b = read_records(out)
    assert (a.id, a.media, a.group, a.split, b.split) == ("mine/a.mp4", "../a.mp4", "mine/x", "train", "test")
    assert a.labels["video"].model_dump() == {"mean": 3.5, "std": 0.5, "votes": None, "scale": (1, 5),
                                              "higher_is_better": True, "pseudo": False}  # fmt: skip
    assert json.loads(done.stdout)["records"] == 2
    assert [p.name for p in out.parent.iterdir()] == ["records.jsonl"]


def test_mapping_file_and_a_flag_over_it(clips, tmp_path):
    mapping = put(
        tmp_path,
        "map.yaml",
        """
dataset: mine
name: clip
media: ["{clip}"]
scale: [0, 10]
higher_is_better: false
scores: {video: {column: mos, std: sd}}
split: fold
split_values: {training: val}
""",
    )
    out = tmp_path / "r.jsonl"
    done = call("custom", clips, "-o", out, "--map", mapping, "--scale", "0:5")
    assert done.exit_code == 0, done.output
    first = next(read_records(out))
    assert first.labels["video"].scale == (0, 5) and not first.labels["video"].higher_is_better
    assert first.split == "val" and "LOWER is better" in done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (FLAGS[2:], "--name-column"),
    (FLAGS[:2] + FLAGS[4:], "--score-column"),
    (FLAGS[:4], "--scale LOW:HIGH and --higher-is-better or --lower-is-better"),
    (FLAGS[:6], "--higher-is-better or --lower-is-better"),
    (FLAGS[:4] + FLAGS[6:], "--scale LOW:HIGH"),
    ([*FLAGS, "--scale", "5:1"], "--scale"),
    ([*FLAGS, "--scale", "five"], "--scale 'five'"),
    ([*FLAGS, "--score-column", "picture=mos"], "--score-column picture=mos"),
    ([*FLAGS, "--score-column", "audio=mos_a"], "no column 'mos_a' (--score-column); it has: 'clip', 'mos'"),
    ([*FLAGS, "--std-column", "video=s"], "no column 's' (--std-column)"),
    ([*FLAGS, "--std-column", "audio=sd"], "there is no --score-column for audio"),
    ([*FLAGS, "--group-column", "g"], "no column 'g' (--group-column)"),
    ([*FLAGS, "--split-column", "scene"], "names an unknown split"),
    ([*FLAGS, "--missing", "maybe"], "'maybe' is not one of"),
    ([*FLAGS, "--scale", "1:3"], "outside the scale 1..3 (--scale)"),
    ([*FLAGS, "--decimal", ";"], "decimal"),
    ([*FLAGS, "-o", "x.jsonl"], "either -o"),
])  # fmt: skip
def test_refusals_name_the_flag(clips, arguments, words):
    done = call("custom", clips, "--check", *arguments)
    assert done.exit_code == 2 and words in done.stderr, done.output


@pytest.mark.parametrize(("text", "words"), [
    ("clip,mos\na.mp4,good\n", "'good' is not a number"),
    ("clip,mos\na.mp4,inf\n", "not a finite number"),
    ('clip,mos\na.mp4,"3,5"\n', "--decimal ,"),
    ("clip,mos\na.mp4,3\na.mp4,4\n", "clip listed twice with different scores: 1 (mine.csv:3: a.mp4"),
    ("clip,mos\n,3\n", "row without a clip name"),
    ("clip,mos\na.mp4,\n", "no rated clip"),
    ("clip,mos\na.mp4,3,9,9\n", "mine.csv:2: 4 cells, the header has 2"),
    ("clip,mos,mos\na.mp4,3,4\n", "named twice: mos"),
    ("", "empty, or its first line is no header"),
    ("clip,mos\nmissing.mp4,3\n", "media file missing"),
    ("clip,mos\na.mp4,3\0\n", "NUL"),
])  # fmt: skip
def test_bad_files_are_refused_and_leave_nothing(text, words, clips, tmp_path):
    out = tmp_path / "sub" / "r.jsonl"
    put(tmp_path, "sub/r.jsonl", "kept\n")
    done = call("custom", put(tmp_path, "mine.csv", text), "-o", out, *FLAGS)
    assert done.exit_code == 2 and words in done.stderr, done.output
    assert out.read_text() == "kept\n" and [p.name for p in out.parent.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize(("text", "encoding"), [
    ("clip;mos\r\na.mp4;3,5\r\nb.mp4;2\r\n", "utf-8-sig"),
    ("clip\tmos\na.mp4\t3,5\n\n\t\nb.mp4\t2\n", "utf-8"),
])  # fmt: skip
def test_bom_line_ends_blank_lines_and_decimal_commas(text, encoding, clips, tmp_path):
    put(tmp_path, "mine.csv", text, encoding)
    out = tmp_path / "r.jsonl"
    assert call("custom", clips, "-o", out, *FLAGS, "--decimal", ",").exit_code == 0
    assert [r.labels["video"].mean for r in read_records(out)] == [3.5, 2]


def test_other_encodings_are_refused(clips, tmp_path):
    done = call("custom", put(tmp_path, "mine.csv", "clip,mos\nä.mp4,3\n", "latin-1"), "--check", *FLAGS)
    assert done.exit_code == 2 and "not UTF-8" in done.stderr


def test_same_clip_with_the_same_score_is_counted_once(clips, tmp_path):
    put(tmp_path, "mine.csv", "clip,mos\na.mp4,3\na.mp4,3\n")
    done = call("custom", clips, "--check", *FLAGS)
    assert done.exit_code == 0 and "taken once: 1" in done.stderr and json.loads(done.stdout)["records"] == 1


def test_missing_media_keep_and_drop(clips, tmp_path):
    (tmp_path / "b.mp4").unlink()
    for choice, records in (("keep", 2), ("drop", 1)):
        done = call("custom", clips, "-o", tmp_path / "r.jsonl", *FLAGS, "--missing", choice)
        assert done.exit_code == 0 and f"{records} records, 1 media files missing" in done.stderr
        assert json.loads(done.stdout)["missing_media"] == 1
        assert len(list(read_records(tmp_path / "r.jsonl"))) == records


def test_check_writes_nothing(clips, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert call("custom", clips, "--check", *FLAGS).exit_code == 0
    assert sorted(tmp_path.iterdir()) == before


def test_per_rating_and_headerless_and_media_root(tmp_path):
    media(tmp_path, "clips/a.mp4")
    path = put(tmp_path, "votes.txt", "a.mp4,ann,4\na.mp4,bob,5\n")
    arguments = ["--columns", "clip,who,mos", "--per-rating", "--media-root", tmp_path / "clips"]
    out = tmp_path / "r.jsonl"
    assert call("custom", path, "-o", out, *FLAGS, *arguments).exit_code == 0
    (record,) = read_records(out)
    assert record.labels["video"].votes == [0, 0, 0, 1, 1] and record.media == "clips/a.mp4"


def test_set_with_unseen_columns_takes_a_mapping(tmp_path):
    put(tmp_path, "mos.csv", "video,aq,av,oq\nx.mp4,50,60,70\n")
    done = call("agavqa_3k", tmp_path, "--check")
    assert done.exit_code == 2 and "--map" in done.stderr and "mos.csv" in done.stderr
    text = "file: mos.csv\nname: video\nscores: {audio: aq, sync: av, overall: oq}\n"
    mapping = put(tmp_path, "map.yaml", text)
    done = call("agavqa_3k", tmp_path, "--check", "--map", mapping, "--missing", "keep")
    assert done.exit_code == 2 and "--scale LOW:HIGH" in done.stderr
    put(tmp_path, "map.yaml", text + "scale: [0, 100]\nhigher_is_better: true\n")
    done = call("agavqa_3k", tmp_path, "--check", "--map", mapping, "--missing", "keep")
    assert done.exit_code == 0 and set(json.loads(done.stdout)["aspects"]) == {"audio", "sync", "overall"}
    put(tmp_path, "map.yaml", text + "scales: [0, 100]\n")
    done = call("agavqa_3k", tmp_path, "--check", "--map", mapping)
    assert done.exit_code == 2 and "map.yaml: scales" in done.stderr


def test_the_scale_of_a_card_cannot_be_changed(tmp_path):
    done = call("konvid_1k", tmp_path, "--check", "--scale", "0:100")
    assert done.exit_code == 2 and "states the scale already" in done.stderr


def test_unwritable_output(clips, tmp_path):
    done = call("custom", clips, "-o", clips / "x.jsonl", *FLAGS)
    assert done.exit_code == 2 and "cannot be written" in done.stderr


def test_datasets_lists_scale_and_direction():
    done = CliRunner().invoke(app, ["datasets"])
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines()}
    assert rows["live_vqa"][2:4] == ["0..100", "LOWER"] and rows["kadid_10k"][2:4] == ["1..5", "higher"]
    assert rows["sjtu_uav"][2] == "not published" and len({len(r) for r in rows.values()}) == 1
