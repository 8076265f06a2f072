"""The question bench: held-out clips only, balanced types, sides and positions, a schema that refuses nonsense."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from question_records import some_clips
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.questions.facts import level, score
from mllm_avqa.schema.bench_item import BenchItem, read_bench
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import write_records

CLIPS = some_clips(300)
BY_ID = {r.id: r for r in CLIPS}


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    write_records(folder / "records.jsonl", CLIPS)
    done = run(folder / "records.jsonl", "-o", folder / "b" / "bench.jsonl", "--count", 300, "--languages", "en,zh")
    assert done.exit_code == 0, done.stderr
    return folder, json.loads(done.stdout), list(read_bench(folder / "b" / "bench.jsonl"))


def clips_of(item: BenchItem):
    names = [m.rsplit("/", 1)[1][:-4] for m in (item.media, item.media_b) if m]
    return [BY_ID[n] for n in names]


def test_only_held_out_clips(made):
    _, numbers, items = made
    assert numbers["items"] == len(items) > 300
    assert {r.split for i in items for r in clips_of(i)} == {"test"}
    assert len({i.id for i in items}) == len(items)
    assert items[0].media.startswith("../clips/")
    assert {i.licence for i in items} == {"CC0"}


def test_types_sides_and_positions_are_balanced(made):
    _, _, items = made
    english = [i for i in items if i.language == "en"]
    assert {i.question_type for i in english} == {"yes-no", "what", "how", "when", "compare"}
    assert {i.concern for i in english} == {"fault", "local-fault", "quality", "context"}
    cells = Counter((i.question_type, i.modality) for i in english)
    assert max(cells.values()) <= -(-300 // len(cells))
    places = defaultdict(Counter)
    for i in english:
        places[len(i.options)][i.correct] += 1
    for n, found in places.items():
        counts = [found[k] for k in range(n)]
        assert max(counts) - min(counts) <= 1, (n, counts)
    said = Counter(i.options[i.correct] for i in english if i.question_type == "yes-no")
    assert abs(said["yes"] - said["no"]) <= 2 * len([c for c in cells if c[0] == "yes-no"])


def test_answers_are_true(made):
    _, _, items = made
    contexts = 0
    for i in items:
        first, *second = clips_of(i)
        right = i.options[i.correct]
        if i.concern == "context":
            contexts += 1
            assert i.context["user"]
            assert right == level(first, i.modality)
        if i.question_type == "compare" and i.language == "en":
            gap = score(first, i.modality) - score(second[0], i.modality)
            assert right == ("about the same" if abs(gap) < 0.15 else "the first" if gap > 0 else "the second")
        assert "A. " not in i.question
    assert contexts > 5


def test_equal_seeds_give_equal_files(made):
    folder, _, _ = made
    for name in ("x", "y"):
        run(folder / "records.jsonl", "-o", folder / name, "--count", 50)
    assert (folder / "x").read_bytes() == (folder / "y").read_bytes()


def test_training_clips_are_refused(made):
    folder, _, _ = made
    out = folder / "train.jsonl"
    done = run(folder / "records.jsonl", "-o", out, "--split", "train")
    assert done.exit_code == 2
    assert "--allow-train" in done.stderr
    assert not out.exists()
    assert run(folder / "records.jsonl", "-o", out, "--split", "train", "--allow-train", "--count", 20).exit_code == 0
    assert run(folder / "records.jsonl", "-o", out, "--split", "tset").exit_code == 2


def test_clips_that_share_content_with_training_are_left_out(tmp_path):
    test = [r for r in CLIPS if r.split == "test"][:40]
    shared = test[0].group.split("+")[0]
    train = CLIPS[0].model_copy(update={"group": f"{shared}+audio/new"})
    write_records(tmp_path / "r.jsonl", [train, *test])
    numbers = json.loads(run(tmp_path / "r.jsonl", "-o", tmp_path / "b.jsonl").stdout)
    assert numbers["left_out_for_shared_content"] == sum(shared in r.group.split("+") for r in test) > 0
    assert all(shared not in r.group.split("+") for i in read_bench(tmp_path / "b.jsonl") for r in clips_of(i))
    write_records(tmp_path / "r.jsonl", [train, *(r for r in test if shared in r.group.split("+"))])
    done = run(tmp_path / "r.jsonl", "-o", tmp_path / "none.jsonl")
    assert done.exit_code == 2
    assert "content is new" in done.stderr


def test_a_bad_line_is_named(tmp_path):
    good = dict(id="1", media="a.mp4", question="?", options=["yes", "no"], correct=0, question_type="yes-no",
                modality="video", concern="fault", source="d/1")  # fmt: skip
    path = tmp_path / "bench.jsonl"
    for change, why in (
        ({"correct": 2}, "2 options"),
        ({"options": ["a", "a"]}, "equal"),
        ({"concern": "x"}, "concern"),
    ):
        path.write_text(json.dumps(good) + "\n" + json.dumps(good | change) + "\n")
        with pytest.raises(ConfigError, match=rf"bench\.jsonl:2.*{why}"):
            list(read_bench(path))
    with pytest.raises(ConfigError, match="does not exist"):
        list(read_bench(tmp_path / "nothing.jsonl"))
