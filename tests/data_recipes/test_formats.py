"""Records to Parquet and `datasets` and back, and their questions as rows for peers' trainers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.formats import convert, export_questions, stream
from data_recipes.formats.parquet import codec, from_row, read_parquet, record_schema, to_row, write_parquet
from data_recipes.formats.peers import Choice, plain
from mllm_avqa.schema.errors import ConfigError, OutputError
from mllm_avqa.schema.records import Distortion, Label, Question, Record, read_records, write_records


def question(aspect: str | None = "video", text: str = "How blurred?", **more: Any) -> Question:
    return Question(**{"stage": 1, "task": "severity", "aspect": aspect, "question": text, "answer": "strong", **more})


def full(id: str = "a", **more: Any) -> Record:
    """A record with every field set."""
    return Record(
        **{
            "id": id,
            "media": "clips/a.mp4",
            "start": 0.0,
            "end": 1.0,
            "dataset": "d",
            "group": "g",
            "split": "train",
            "labels": {
                "video": Label(mean=70.5, std=9.25, votes=[1, 0, 2.5, 3, 4], scale=(0, 100), higher_is_better=False),
                "overall": Label(mean=4.0, pseudo=True),
            },
            "distortions": [
                Distortion(kind="gblur", modality="video", level=4, start=0, end=1, parameters={"sigma": 2, "how": "x"})
            ],
            "context": {"user": "one", "asr": "二"},
            "questions": [
                question(options=["A. x", "B. y"]),
                question("audio", "Hum?", language="zh"),
                question("text", "Captions?"),
                question("overall", "All?"),
            ],
            "description": "A clip.",
            "licence": "CC0",
            **more,
        }
    )


BARE = Record(id="b", media="b.mp4", dataset="d", group="g")


def test_every_field_survives_parquet(tmp_path: Path) -> None:
    assert record_schema().names == list(Record.model_fields)
    records = [full(), BARE, full("c", labels={"video": Label(mean=1)}, start=None)]
    assert write_parquet(tmp_path / "r.parquet", records, group=2) == 3
    assert list(read_parquet(tmp_path / "r.parquet")) == records
    assert list(next(read_parquet(tmp_path / "r.parquet")).labels) == ["video", "overall"]  # order kept
    assert not list(tmp_path.glob("*.part"))


def test_row_groups_are_as_large_as_told(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_parquet(tmp_path / "r.parquet", (full(str(i)) for i in range(7)), group=3)
    file = pq.ParquetFile(tmp_path / "r.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 1]


def test_datasets_loads_it_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    records = [full(), BARE]
    write_parquet(tmp_path / "r.parquet", records)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "r.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [from_row(row) for row in loaded] == records
    loaded.to_parquet(str(tmp_path / "again" / "0.parquet"))
    assert list(stream(tmp_path / "again")) == records  # a folder of files
    assert datasets.Dataset.from_list([to_row(r) for r in records]).to_list() == loaded.to_list()


def test_schema_has_only_types_that_datasets_knows() -> None:
    datasets = pytest.importorskip("datasets")
    assert set(datasets.Features.from_arrow_schema(record_schema())) == set(Record.model_fields)


def test_types_without_a_counterpart_are_refused() -> None:
    with pytest.raises(TypeError, match="no Arrow type"):
        codec(set[str])


def test_broken_parquet_names_file_and_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a"], "media": ["m"], "dataset": ["d"], "extra": [1]}), path)
    with pytest.raises(ConfigError, match=r"x\.parquet: row 0: not a record: group"):
        list(read_parquet(path))
    assert "extra" in caplog.text
    pq.write_table(pa.table({"id": ["a"], "media": ["m"], "dataset": ["d"], "group": ["g"], "labels": ["?"]}), path)
    with pytest.raises(ConfigError, match="row 0"):
        list(read_parquet(path))
    path.write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError, match="not a readable Parquet file"):
        list(read_parquet(path))
    with pytest.raises(ConfigError, match="is not a"):
        list(stream(tmp_path / "none.parquet"))


def test_a_failing_source_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "r.jsonl"
    write_records(bad, [full()])
    bad.write_text(bad.read_text() + "{}\n")
    with pytest.raises(ConfigError, match=r"r\.jsonl:2"):
        convert(bad, tmp_path / "o.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.jsonl"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="-o"):
        convert(bad, tmp_path / "file" / "o.parquet")


def test_media_paths_follow_the_record_file(tmp_path: Path) -> None:
    write_records(tmp_path / "a" / "r.jsonl", [BARE, BARE.model_copy(update={"id": "c", "split": "val"})])
    out = tmp_path / "x" / "y" / "o.parquet"
    assert convert(tmp_path / "a" / "r.jsonl", out) == 2
    assert next(stream(out)).media == "../../a/b.mp4"
    assert convert(tmp_path / "a" / "r.jsonl", out, split="val", absolute=True) == 1
    assert next(stream(out)).media == str(tmp_path / "a" / "b.mp4")
    assert convert(out, tmp_path / "a" / "back.jsonl") == 1
    assert next(read_records(tmp_path / "a" / "back.jsonl")).media == "b.mp4"


@pytest.fixture
def set_of_records(tmp_path: Path) -> Path:
    """A clip with sound, a silent one, a picture, a sound; record file beside them."""
    import av

    def video(name: str, sound: bool) -> None:
        with av.open(str(tmp_path / name), "w") as out:
            v: Any = out.add_stream("mpeg4", rate=10)
            v.width, v.height, v.pix_fmt = 32, 32, "yuv420p"
            a: Any = out.add_stream("aac", rate=16000) if sound else None
            for _ in range(20):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                out.mux(v.encode(frame))
            out.mux(v.encode(None))
            if a is not None:
                samples = np.zeros((1, 32000), np.float32)
                block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                block.sample_rate = 16000
                out.mux([*a.encode(block), *a.encode(None)])

    from PIL import Image

    video("both.mp4", True)
    video("mute.mp4", False)
    Image.new("RGB", (32, 32)).save(tmp_path / "still.png")
    with av.open(str(tmp_path / "sound.wav"), "w") as out:
        stream_: Any = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        block.sample_rate = 16000
        out.mux([*stream_.encode(block), *stream_.encode(None)])
    rows = [
        full("both", media="both.mp4", end=2.0),
        full("mute", media="mute.mp4", end=2.0, context={}, questions=[question(text="Is <video> or <|im_end|> odd?")]),
        full("still", media="still.png", start=None, end=None, context={}, questions=[question()]),
        full("sound", media="sound.wav", start=None, end=None, context={}, questions=[question("audio")]),
        full("part", media="both.mp4", start=1.0, end=2.0),
        full("early", media="both.mp4", start=0.0, end=1.0),
    ]
    write_records(tmp_path / "r.jsonl", rows)
    return tmp_path / "r.jsonl"


def by_id(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(x) for x in text.splitlines()]
    return {r["id"]: r for r in rows}


def test_llava(set_of_records: Path) -> None:
    out = set_of_records.parent / "out" / "llava.json"
    outcome = export_questions(set_of_records, out, "llava", Choice())
    rows = by_id(out)
    # both/2 and both/3 (captions, overall) may rest on the given texts; a sound has no place in LLaVA
    assert set(rows) == {"both/0", "both/1", "mute/0", "still/0"}
    assert rows["both/0"]["video"] == "../both.mp4"
    assert rows["both/0"]["conversations"] == [
        {"from": "human", "value": "<video>\nHow blurred?"},
        {"from": "gpt", "value": "strong"},
    ]
    assert rows["still/0"]["image"] == "../still.png"
    assert rows["still/0"]["conversations"][0]["value"].startswith("<image>\n")
    assert rows["mute/0"]["conversations"][0]["value"] == "<video>\nIs ‹video› or ‹|im_end|› odd?"
    assert (outcome.records, outcome.rows, sum(outcome.left_out.values())) == (6, 4, 2 + 1 + 2)


def test_ms_swift(set_of_records: Path) -> None:
    out = set_of_records.parent / "swift.jsonl"
    export_questions(set_of_records, out, "ms-swift", Choice(context=True), absolute=True)
    rows = by_id(out)
    media = str(set_of_records.parent / "both.mp4")
    assert rows["both/0"]["messages"][0] == {"role": "user", "content": rows["both/0"]["messages"][0]["content"]}
    assert rows["both/0"]["messages"][0]["content"].startswith("<video><audio>")
    assert (rows["both/0"]["videos"], rows["both/0"]["audios"], rows["both/0"]["images"]) == ([media], [media], [])
    assert rows["mute/0"]["audios"] == []
    assert rows["sound/0"]["messages"][0]["content"] == "<audio>How blurred?"
    for row in rows.values():  # ms-swift replaces as many tags as there are items
        text = row["messages"][0]["content"]
        for item in ("image", "video", "audio"):
            assert text.count(f"<{item}>") == len(row[item + "s"])
    said = rows["both/2"]["messages"][0]["content"]
    assert 'user: "one"' in said
    assert said.endswith("\nCaptions?")
    pytest.importorskip("datasets").Features  # noqa: B018
    assert {frozenset(row) for row in rows.values()} == {frozenset({"id", "messages", "images", "videos", "audios"})}


def test_levels_are_on_the_right_end_of_the_scale(set_of_records: Path) -> None:
    out = set_of_records.parent / "levels.jsonl"
    choice = Choice(stages=frozenset({2}), language="en", levels=True)
    export_questions(set_of_records, out, "ms-swift", choice)
    rows = by_id(out)
    # 70.5 of 0..100 where lower is better is 1 + 4 * 0.295 = 2.18 -> poor (analytic)
    assert rows["mute/level-video-en"]["messages"][1]["content"] == "The video quality is poor."
    assert rows["mute/level-overall-en"]["messages"][1]["content"] == "The overall quality is good."
    assert "both/level-overall-en" not in rows  # its context may matter


def test_a_missing_file_is_a_failure_and_nothing_at_all_is_an_error(set_of_records: Path) -> None:
    folder = set_of_records.parent
    (folder / "both.mp4").unlink()
    done = CliRunner().invoke(app, ["export", str(set_of_records), "-o", str(folder / "o.json"), "--format", "llava"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["failed"] == 3
    assert "both" in done.stderr
    with pytest.raises(ConfigError, match="nothing to write"):
        export_questions(set_of_records, folder / "p.json", "llava", Choice(stages=frozenset({3})))
    assert not (folder / "p.json").exists()
    assert export_questions(set_of_records, folder / "q.json", "llava", open_media=False).rows == 6  # trusts names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "x.txt"], "--format"),
        (["-o", "x.txt", "--format", "llava"], "*.json or *.jsonl"),
        (["-o", "x.parquet", "--levels"], "--levels"),
    ],
)
def test_refused_options(set_of_records: Path, options: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["export", str(set_of_records), *options])
    assert done.exit_code == 2
    assert said in done.stderr


def test_command_round_trip(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [full(), BARE])
    run = CliRunner().invoke
    assert run(app, ["export", str(tmp_path / "r.jsonl"), "-o", str(tmp_path / "r.parquet")]).exit_code == 0
    done = run(app, ["import", str(tmp_path / "r.parquet"), "-o", str(tmp_path / "s.jsonl")])
    assert json.loads(done.stdout) == {"out": str(tmp_path / "s.jsonl"), "records": 2}
    assert (tmp_path / "s.jsonl").read_bytes() == (tmp_path / "r.jsonl").read_bytes()


def test_tags_of_strangers() -> None:
    assert plain("<image> <|vision_start|> </s> a < b > c 1<2") == "‹image› ‹|vision_start|› ‹/s› a < b > c 1<2"


def test_no_heavy_imports_for_the_command_line() -> None:
    import subprocess

    code = "import sys, data_recipes.__main__; print([m for m in ('pyarrow', 'torch', 'datasets') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
