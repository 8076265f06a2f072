"""Splits by group: shares, balance, determinism, official parts; and what counts as a leak."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from random import Random
from statistics import mean

import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.sets.leakage import find_leaks, stem
from data_recipes.sets.splits import parse_shares, split_file
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import Label, Record, Split, read_records, write_records


def record(name: str, group: str, score: float | None = None, split: Split | None = None, media: str = "") -> Record:
    labels = {} if score is None else {"overall": Label(mean=score)}
    return Record(id=name, media=media or f"{name}.mp4", dataset="d", group=group, split=split, labels=labels)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """60 groups of 1 to 8 clips over the whole range of scores."""
    rng = Random(3)
    rows = [record(f"{g}-{i}", f"g{g}", 1 + 4 * g / 59) for g in range(60) for i in range(rng.randint(1, 8))]
    write_records(tmp_path / "r.jsonl", rows)
    return tmp_path / "r.jsonl"


@pytest.mark.parametrize("shares", ["80/20", "60/20/20"])
def test_groups_stay_whole_and_parts_have_their_share_of_clips_and_scores(records: Path, shares: str) -> None:
    wanted = parse_shares(shares)
    outcome = split_file(records, records.with_name("out.jsonl"), wanted)
    rows = list(read_records(records.with_name("out.jsonl")))
    assert outcome.records == len(rows) and len(outcome.sizes) == 10
    for i in range(10):
        parts = defaultdict(set)
        scores = defaultdict(list)
        for r in rows:
            parts[r.group].add(r.folds[i])
            scores[r.folds[i]].append(r.labels["overall"].mean)
        assert all(len(p) == 1 for p in parts.values())
        for part, share in wanted.items():
            assert len(scores[part]) == outcome.sizes[i][part]
            assert len(scores[part]) / len(rows) == pytest.approx(share, abs=8 / len(rows))  # one group is 8 at most
            assert mean(scores[part]) == pytest.approx(3.0, abs=0.35)  # without strata up to 0.73 off
    assert {r.split for r in rows} == set(wanted)
    assert len({tuple(r.folds[i] for r in rows) for i in range(10)}) == 10


def test_same_seed_same_splits_whatever_the_order(records: Path, tmp_path: Path) -> None:
    rows = list(read_records(records))
    write_records(tmp_path / "turned.jsonl", reversed(rows))
    by_id = []
    for source, seed in ((records, 1), (tmp_path / "turned.jsonl", 1), (records, 2)):
        split_file(source, tmp_path / "o.jsonl", parse_shares("80/20"), 3, seed)
        by_id.append({r.id: r.folds for r in read_records(tmp_path / "o.jsonl")})
    assert by_id[0] == by_id[1] != by_id[2]


@pytest.mark.parametrize(("groups", "shares"), [(2, "80/20"), (3, "60/20/20"), (5, "80/20"), (4, "98/1/1")])
def test_every_part_gets_a_group(tmp_path: Path, groups: int, shares: str) -> None:
    write_records(tmp_path / "r.jsonl", (record(f"{g}{i}", str(g)) for g in range(groups) for i in range(4)))
    outcome = split_file(tmp_path / "r.jsonl", tmp_path / "o.jsonl", parse_shares(shares))
    assert all(set(size) == set(parse_shares(shares)) for size in outcome.sizes)


def test_official_parts(tmp_path: Path) -> None:
    rows = [record(f"{g}", f"g{g}", split="test" if g < 3 else None) for g in range(13)]
    write_records(tmp_path / "r.jsonl", rows)
    split_file(tmp_path / "r.jsonl", tmp_path / "o.jsonl", parse_shares("80/20"), keep_official=True)
    kept = list(read_records(tmp_path / "o.jsonl"))
    assert all(set(r.folds) == {"test"} for r in kept[:3])
    assert all(r.split == r.folds[0] for r in kept)
    split_file(tmp_path / "r.jsonl", tmp_path / "o.jsonl", parse_shares("80/20"))
    dealt = list(read_records(tmp_path / "o.jsonl"))
    assert [r.split for r in dealt] == [r.split for r in rows]  # not mixed with the official one
    assert any("train" in r.folds for r in dealt[:3])
    write_records(tmp_path / "cut.jsonl", [*rows, record("x", "g0", split="train")])
    with pytest.raises(ConfigError, match=r"--keep-official: the official split cuts 1 groups, e.g. 'g0'"):
        split_file(tmp_path / "cut.jsonl", tmp_path / "o.jsonl", parse_shares("80/20"), keep_official=True)


def test_media_stay_valid_in_another_folder(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [record("a", "a", media="m/a.mp4"), record("b", "b", media="/abs/b.mp4")])
    split_file(tmp_path / "r.jsonl", tmp_path / "deep" / "o.jsonl", parse_shares("50/50"))
    assert [r.media for r in read_records(tmp_path / "deep" / "o.jsonl")] == ["../m/a.mp4", "/abs/b.mp4"]


@pytest.mark.parametrize("shares", ["80", "80/30", "100/0", "a/b", "40/30/20/10", "nan/20"])
def test_bad_shares(shares: str) -> None:
    with pytest.raises(ConfigError, match="--shares"):
        parse_shares(shares)


def test_refused_sets(tmp_path: Path) -> None:
    empty = tmp_path / "e.jsonl"
    empty.write_text("")
    with pytest.raises(ConfigError, match="no records to split"):
        split_file(empty, tmp_path / "o.jsonl", parse_shares("80/20"))
    with pytest.raises(ConfigError, match="--count 0"):
        split_file(empty, tmp_path / "o.jsonl", parse_shares("80/20"), 0)
    write_records(tmp_path / "r.jsonl", [record("a", "one"), record("b", "one")])
    with pytest.raises(ConfigError, match="1 groups can not be split"):
        split_file(tmp_path / "r.jsonl", tmp_path / "o.jsonl", parse_shares("80/20"))
    write_records(tmp_path / "r.jsonl", [record("a", "")])
    with pytest.raises(ConfigError, match="'a' has no group"):
        split_file(tmp_path / "r.jsonl", tmp_path / "o.jsonl", parse_shares("80/20"))


def leaks(tmp_path: Path, rows: list[Record], content: bool = False) -> list[tuple[str, str]]:
    write_records(tmp_path / "r.jsonl", rows)
    return [(leak.what, leak.name.rpartition("/")[2]) for leak in find_leaks([tmp_path / "r.jsonl"], content).leaks]


def test_groups_with_a_common_content_are_dealt_together(tmp_path: Path) -> None:
    groups = ["song+talk", "song+walk", "walk", "a", "b", "c", "hum+d", "hum+e"]
    write_records(tmp_path / "r.jsonl", (record(f"{g}{i}", g, 1.0 + i) for g in groups for i in range(3)))
    split_file(tmp_path / "r.jsonl", tmp_path / "s.jsonl", parse_shares("60/40"))
    assert not find_leaks([tmp_path / "s.jsonl"]).leaks
    for r in read_records(tmp_path / "s.jsonl"):
        assert set(r.folds) == {"train", "test"}


def test_borrowed_sound_of_a_training_clip_is_a_leak(tmp_path: Path) -> None:
    rows = [record("a", "song+talk", split="train"), record("b", "song+walk", split="test")]
    assert leaks(tmp_path, rows) == [("group", "song")]


def test_group_and_media_in_two_parts(tmp_path: Path) -> None:
    rows = [record("a", "g", split="train"), record("b", "g", split="test"), record("c", "h", split="test")]
    assert leaks(tmp_path, rows) == [("group", "g")]
    rows = [record("a", "g", split="train", media="x.mp4"), record("b", "h", split="test", media="./m/../x.mp4")]
    assert ("media", "x.mp4") in leaks(tmp_path, rows)
    assert leaks(tmp_path, [record("a", "g", split="train"), record("b", "g")]) == []  # one is in no part


def test_folds_are_checked_one_by_one(tmp_path: Path) -> None:
    rows = [record("a", "g"), record("b", "g"), record("c", "h")]
    rows = [
        r.model_copy(update={"folds": f})
        for r, f in zip(rows, (["train"] * 3, ["train", "test", "train"], ["test"] * 3), strict=True)
    ]
    write_records(tmp_path / "r.jsonl", rows)
    (leak,) = find_leaks([tmp_path / "r.jsonl"]).leaks
    assert (leak.split, leak.parts) == ("fold 1", {"train": "a", "test": "b"})


def test_same_bytes_under_another_name(tmp_path: Path) -> None:
    for name, data in (("a", b"12345"), ("b", b"12345"), ("c", b"54321")):
        (tmp_path / f"{name}.mp4").write_bytes(data)
    rows = [record("a", "a", split="train"), record("b", "b", split="test"), record("c", "c", split="val")]
    rows.append(record("gone", "d", split="test"))
    assert leaks(tmp_path, rows) == []
    assert leaks(tmp_path, rows, content=True) == [("content", "a.mp4")]
    assert find_leaks([tmp_path / "r.jsonl"], content=True).unreadable == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d/1Runner_crf_0_24fps.mp4", "1runner"),
        ("vid_crf_10_ss_00_t_20.0.mp4", "vid"),
        ("bird_gblur_3.png", "bird"),
        ("avX_1280x720_vb4_ab2.avi", "avx"),
        ("clip_17.mp4", "clip_17"),
        ("crf_20.mp4", "crf_20"),
    ],
)
def test_stem_loses_only_known_suffixes(name: str, expected: str) -> None:
    assert stem(name) == expected


def test_command(tmp_path: Path, records: Path) -> None:
    run = CliRunner().invoke
    out = tmp_path / "s.jsonl"
    result = run(app, ["split", str(records), "-o", str(out), "--count", "2", "--shares", "60/20/20"])
    assert result.exit_code == 0 and result.stdout.splitlines()[0] == "fold\ttrain\tval\ttest"
    assert len(result.stdout.splitlines()) == 3
    result = run(app, ["leakage", str(out)])
    assert (result.exit_code, result.stdout) == (0, "")
    one, two = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    write_records(one, [record("a", "g", split="train", media="a_crf_1.mp4")])
    write_records(two, [record("b", "h", split="test", media="a_crf_2.mp4")])
    result = run(app, ["leakage", str(one), str(two)])
    assert (result.exit_code, result.stdout) == (0, "")  # only a warning
    assert "names like 'a' of different groups" in result.stderr
    write_records(two, [record("b", "g", split="test")])
    result = run(app, ["leakage", str(one), str(two)])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1] == "group\tg\tsplit\ttrain: a, test: b"
    result = run(app, ["leakage", str(records)])
    assert result.exit_code == 2 and "no record has a split or folds" in result.stderr
