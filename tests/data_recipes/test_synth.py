"""Recipes, sources, plans and the run itself, on media made here."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.distortions import Material, kinds
from data_recipes.synthesis.audit import digest
from data_recipes.synthesis.mux import SLICES, read_material, write_clip
from data_recipes.synthesis.plan import Planner
from data_recipes.synthesis.recipe import load_recipe
from data_recipes.synthesis.sources import find_sources
from data_recipes.synthesis.synth import synthesise
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.records import read_records

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / "data_recipes" / "recipes"
MIXED = ("both", "video", "audio", "clean", "sync", "text")
FAST = ["gblur", "gnoise", "underexp", "cast", "mosaic", "hum", "white", "clip", "offset_late", "caption_mismatch"]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips with sound per split, a silent one and spoken lines, each of 2.5 s."""
    root = tmp_path_factory.mktemp("media")
    t = np.arange(round(2.5 * 48000)) / 48000
    for i, name in enumerate(["a", "b", "test1", "val1", "silent"]):
        y, x = np.mgrid[:96, :128]
        frames = np.stack([(np.sin((x + 3 * k) / (4 + i)) * 60 + y + 40).clip(0, 255) for k in range(25)])
        rgb = np.repeat(frames[..., None], 3, axis=3).astype(np.uint8)
        tone = np.stack([np.sin(2 * np.pi * (220 + 60 * i) * t)] * 2).astype(np.float32) * 0.3
        sound = None if name == "silent" else tone
        write_clip(root / "video" / f"{name}.mp4", Material(frames=rgb, fps=10.0, sound=sound), preset="ultrafast")
    for i, name in enumerate(["line", "line_test"]):
        tone = np.stack([np.sin(2 * np.pi * (330 + 70 * i) * t)] * 2).astype(np.float32) * 0.3
        write_clip(root / "voice" / f"{name}.mp4", Material(sound=tone), audio="flac")
    return root


def _recipe(folder: Path, **changes: object) -> Path:
    data: dict[str, object] = {
        "name": "t", "seed": 1, "clips": 6, "seconds": 2.0, "max_height": 96, "step": 0.5,
        "sources": [
            {"name": "video", "kind": "video", "folder": "video", "licence": "CC0"},
            {"name": "voice", "kind": "audio", "folder": "voice", "spoken": True},
            {"name": "tones", "kind": "generated"},
        ],
        "transcripts": "said.yaml",
        "splits": {"train": 0.5, "val": 0.2, "test": 0.3},
        "test": ["video/test*", "voice/line_test", "tones/bells"],
        "val": ["video/val*", "tones/march"],
        "mixture": {"both": 0.4, "video": 0.15, "audio": 0.15, "clean": 0.1, "sync": 0.1, "text": 0.1},
        "kinds": {k.kind: 0.0 for k in kinds() if k.kind not in FAST},
    }  # fmt: skip
    data.update(changes)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    (folder / "said.yaml").write_text(
        yaml.safe_dump({"voice/line": "one two three four five six", "voice/line_test": "seven eight nine ten"})
    )
    return path


def _planner(path: Path, media: Path) -> Planner:
    from data_recipes.synthesis.recipe import load_transcripts

    recipe = load_recipe(path)
    return Planner(recipe, find_sources(recipe, [media], load_transcripts(recipe, path)))


@pytest.mark.parametrize(
    "name",
    [
        "full.yaml",
        "nano.yaml",
        "nano-more.yaml",
        "nano-wide.yaml",
        "nano-looks.yaml",
        "nano-stills.yaml",
        "nano-sounds.yaml",
        "smoke.yaml",
    ],
)
def test_shipped_recipes_load(name: str) -> None:
    recipe = load_recipe(RECIPES / name)
    assert recipe.name == Path(name).stem
    assert not set(recipe.test) & set(recipe.val)


def test_a_recipe_extends_another_and_never_itself(tmp_path: Path) -> None:
    below = load_recipe(_recipe(tmp_path, kinds={"gblur": 0, "hum": 0}))
    (tmp_path / "above.yaml").write_text("extends: recipe.yaml\nname: above\nkinds: {hum: 2, halo: 1}\ntest: []\n")
    above = load_recipe(tmp_path / "above.yaml")
    assert above == below.model_copy(update={"name": "above", "kinds": {"gblur": 0, "hum": 2, "halo": 1}, "test": []})
    (tmp_path / "recipe.yaml").write_text("extends: above.yaml\n")
    with pytest.raises(ConfigError, match=r"above\.yaml extends itself \(extends in .*recipe\.yaml\)"):
        load_recipe(tmp_path / "above.yaml")
    (tmp_path / "recipe.yaml").write_text("extends: gone.yaml\n")
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist \(extends in .*recipe\.yaml\)"):
        load_recipe(tmp_path / "above.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secnods": 3}, "nearest: seconds"),
        ({"mixture": {"both": 1, "video": 0, "audio": 0, "clean": 0, "sink": 0, "text": 0}}, "nearest: sync"),
        ({"clips": 0}, "clips"),
        ({"levels": [0, 0, 0, 0, 0]}, "levels"),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = _recipe(tmp_path, **change)
    with pytest.raises(ConfigError, match=words) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_unknown_kind_and_bad_arguments(tmp_path: Path, media: Path) -> None:
    with pytest.raises(ConfigError, match="blurr"):
        synthesise(_recipe(tmp_path, kinds={"blurr": 1}), tmp_path / "o", folders=[media])
    with pytest.raises(ConfigError, match="--clips"):
        synthesise(_recipe(tmp_path), tmp_path / "o", clips=0, folders=[media])
    with pytest.raises(ConfigError, match="--sources"):
        synthesise(_recipe(tmp_path), tmp_path / "o", folders=[tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="finds no picture"):
        synthesise(_recipe(tmp_path), tmp_path / "o")


def test_held_out_patterns_are_checked(tmp_path: Path, media: Path) -> None:
    with pytest.raises(ConfigError, match="matches no source"):
        _planner(_recipe(tmp_path, test=["video/tset*"]), media)
    with pytest.raises(ConfigError, match="both test and val"):
        _planner(_recipe(tmp_path, val=["video/test1"]), media)
    with pytest.raises(ConfigError, match="cut by the splits"):
        _planner(_recipe(tmp_path, groups={"g": ["video/a", "video/test1"]}), media)


def test_plans_never_mix_splits_and_follow_the_mixture(tmp_path: Path, media: Path) -> None:
    planner = _planner(_recipe(tmp_path), media)
    plans = [planner.plan(i, 1) for i in range(400)]
    for p in plans:
        picks = [x for x in (p.picture, *p.sound, p.other) if x is not None]
        assert {planner.files[x.source].split for x in picks} == {p.split}
        assert p.picture is not None or p.sound
        if any(f.modality == "sync" for f in p.faults):
            assert p.own_sound
        if any(f.modality == "text" for f in p.faults):
            assert p.captions
    sides = Counter(frozenset({f.modality for f in p.faults} & {"video", "audio"}) for p in plans)
    assert sides[frozenset({"video", "audio"})] / 400 == pytest.approx(0.45, abs=0.1)
    assert sides[frozenset({"video"})] > 30
    assert sides[frozenset({"audio"})] > 30
    both = [p.faults for p in plans if p.family == "both"]
    levels = [(f.level, g.level) for faults in both for f, g in pairwise(faults)]
    assert abs(float(np.corrcoef(np.array(levels).T)[0, 1])) < 0.2  # levels of picture and sound are independent
    assert all(f.span is None for p in plans for f in p.faults if f.modality == "text")
    spans = [f.span is not None for p in plans for f in p.faults if f.modality != "text"]
    assert np.mean(spans) == pytest.approx(0.3, abs=0.08)
    assert planner.plan(7, 1) == plans[7]
    assert planner.plan(7, 2) != plans[7]


def test_regions_and_kinds_on_request_come_only_where_the_recipe_asks(tmp_path: Path, media: Path) -> None:
    plain = _planner(_recipe(tmp_path), media)
    asked = _planner(_recipe(tmp_path, shares={"region": 1.0}, kinds={"small_text": 5.0}), media)
    faults = [[f for i in range(150) for f in p.plan(i, 1).faults] for p in (plain, asked)]
    assert all(f.region is None for f in faults[0])
    assert not any("small_text" in f.kinds for f in faults[0])
    assert any(f.kinds[0] == "small_text" for f in faults[1])
    for f in faults[1]:
        assert (f.region is not None) == (f.modality == "video")
        if f.region is not None:
            x, y, w, h = f.region
            assert min(x, y) >= 0 and x + w <= 1.001 and y + h <= 1.001 and min(w, h) >= 0.3


def test_a_planned_region_is_where_the_fault_is_and_is_written_down(tmp_path: Path, media: Path) -> None:
    mixture = {k: float(k == "video") for k in MIXED}
    chosen = {k.kind: float(k.kind in ("impulse", "framedrop")) for k in kinds()}
    path = _recipe(tmp_path, shares={"region": 1.0}, mixture=mixture, kinds=chosen, seconds=1.0, clips=8)
    found = synthesise(path, tmp_path / "out", folders=[media])
    assert found.failures == []
    faults = [d for r in found.records for d in r.distortions]
    assert {d.kind for d in faults} == {"impulse", "framedrop"}
    assert all(("region_w" in d.parameters) == (d.kind == "impulse") for d in faults)


def test_another_look_is_drawn_last_and_is_no_fault(tmp_path: Path, media: Path) -> None:
    from data_recipes.synthesis.build import Builder

    plain = _planner(_recipe(tmp_path), media)
    graded = _planner(_recipe(tmp_path, shares={"looks": 1.0}), media)
    for i in range(40):
        one, other = plain.plan(i, 1), graded.plan(i, 1)
        assert one.look is None and (other.look is None) == (one.picture is None)
        assert replace(other, look=None) == one  # nothing else is drawn differently
        assert (other.key(graded.recipe, graded.files) != one.key(plain.recipe, plain.files)) == (
            other.look is not None
        )
    plan = next(p for i in range(40) if (p := graded.plan(i, 1)).picture is not None and p.family == "clean")
    seen = [
        Builder(p.recipe, p.files, tmp_path).reference(q)
        for p, q in ((graded, plan), (plain, replace(plan, look=None)))
    ]
    assert seen[0].frames.shape == seen[1].frames.shape and (seen[0].frames != seen[1].frames).any()
    assert np.array_equal(seen[0].frames, Builder(graded.recipe, graded.files, tmp_path).reference(plan).frames)
    assert Builder(graded.recipe, graded.files, tmp_path)._distort(plan, seen[0])[1] == []


def test_stills_are_one_silent_frame_of_many_sizes_with_faults_that_it_can_show(tmp_path: Path, media: Path) -> None:
    import cv2

    from data_recipes.synthesis.plan import MOVING

    changes = {"shares": {"stills": 1.0}, "mixture": {k: float(k in ("video", "clean")) for k in MIXED}, "seconds": 1.0}
    kinds_ = {k.kind: float(k.kind in ("gblur", "gnoise", "flicker", "freeze")) for k in kinds()}
    path = _recipe(tmp_path, **changes, kinds=kinds_, clips=8)
    found = synthesise(path, tmp_path / "out", folders=[media])
    assert (found.made, found.failures) == (8, [])
    for r in found.records:
        frame = cv2.imread(str(tmp_path / "out" / r.media))
        assert r.media.endswith(".png") and frame.shape[0] == 96  # never more lines than the source has
        assert (r.start, r.end) == (None, None) and set(r.labels) == {"video", "overall"}
        assert not MOVING & {d.kind for d in r.distortions}
        assert not {"when", "time"} & {q.task for q in r.questions}
    assert any(r.distortions for r in found.records)
    again = synthesise(path, tmp_path / "out", folders=[media])
    assert (again.made, again.kept) == (0, 8)
    planner = _planner(path, media)
    assert len({planner.plan(i, 1).still for i in range(60)}) > 3
    one = {k.kind: float(k.kind in ("gblur", "freeze")) for k in kinds()}  # two faults planned, one that a frame shows
    planner = _planner(
        _recipe(tmp_path, **(changes | {"shares": {"stills": 1.0, "second": 1.0, "clean_captions": 0.0}}), kinds=one),
        media,
    )
    assert {len(planner.plan(i, 1).faults) for i in range(40)} == {0, 1}
    moving = {k.kind: float(k.kind == "freeze") for k in kinds()}
    planner = _planner(_recipe(tmp_path, **changes, kinds=moving), media)
    with pytest.raises(ConfigError, match="stills"):
        [planner.plan(i, 1) for i in range(20)]


def test_a_run_writes_true_records_and_resumes(tmp_path: Path, media: Path) -> None:
    path, out = _recipe(tmp_path), tmp_path / "out"
    first = synthesise(path, out, folders=[media])
    assert (first.made, first.kept, first.failures) == (6, 0, [])
    records = list(read_records(out / "records.jsonl"))
    assert [r.id for r in records] == [f"t-{i:06d}" for i in range(6)]
    for r in records:
        back = read_material(out / r.media)
        assert (back.frames is not None) == ("video" in r.labels)
        assert (back.sound is not None) == ("audio" in r.labels)
        assert r.end == pytest.approx(back.duration, abs=0.15)
        assert all(label.pseudo and label.std is not None for label in r.labels.values())
        assert all(0 <= d.start < d.end <= (r.end or 0) + 1e-6 for d in r.distortions)
        assert all(d.modality in r.labels for d in r.distortions)
        assert {q.stage for q in r.questions} == {1, 2, 3}
        assert {q.language for q in r.questions} == {"en", "zh"}
        assert r.description
        if "text" in r.labels:
            assert r.context["user"]
    again = synthesise(path, out, clips=7, folders=[media])
    assert (again.made, again.kept) == (1, 6)
    (out / records[3].media).unlink()
    (out / "parts" / "000004.json").write_text("{")
    repaired = synthesise(path, out, folders=[media])
    assert (repaired.made, repaired.kept) == (2, 4)
    assert list(read_records(out / "records.jsonl")) == records
    changed = synthesise(path, out, clips=2, seed=9, folders=[media])
    assert (changed.made, changed.kept) == (2, 0)


def test_two_runs_with_different_workers_give_the_same_files(tmp_path: Path, media: Path) -> None:
    fragile = [*FAST, "h264", "packet_loss", "chroma_noise", "aac"]  # codecs and noise on top
    path = _recipe(tmp_path, kinds={k.kind: 0.0 for k in kinds() if k.kind not in fragile})
    one = synthesise(path, tmp_path / "one", workers=1, folders=[media])
    two = synthesise(path, tmp_path / "two", workers=2, folders=[media])
    assert one.records == two.records
    files = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()}
    assert len(files) == 2 * 6 + 2  # clips, sidecars, records.jsonl, set.json
    assert files == {p: (tmp_path / "two" / p).read_bytes() for p in files}
    assert one.numbers["digest"] == two.numbers["digest"]
    clip = tmp_path / "two" / two.records[3].media
    clip.write_bytes(clip.read_bytes()[:-1] + b"?")
    assert digest(tmp_path / "two", two.records) != one.numbers["digest"]


def test_bytes_do_not_depend_on_the_cores_of_the_machine(tmp_path: Path) -> None:
    import av

    write_clip(tmp_path / "a.mp4", Material(frames=np.zeros((1, 256, 64, 3), np.uint8)))
    with av.open(str(tmp_path / "a.mp4")) as box:
        packet = next(p for p in box.demux(video=0) if p.size)
    slices, at, data = 0, 0, bytes(packet)
    while at < len(data):  # length-prefixed units; types 1 and 5 are slices (ITU-T H.264, 7.4.1)
        slices += data[at + 4] & 31 in (1, 5)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    assert slices == SLICES


def test_a_fault_of_one_side_leaves_the_other_side_bit_identical(tmp_path: Path, media: Path) -> None:
    from data_recipes.synthesis.build import Builder

    planner = _planner(_recipe(tmp_path), media)
    builder = Builder(planner.recipe, planner.files, tmp_path)
    plan = next(p for i in range(200) if (p := planner.plan(i, 1)).family == "video" and p.own_sound)
    touched, faults = builder._distort(plan, builder.reference(plan))
    clean = builder.reference(replace(plan, faults=()))
    assert faults
    np.testing.assert_array_equal(touched.sound, clean.sound)
    assert touched.frames is not None
    assert (touched.frames != clean.frames).any()


def test_failures_are_listed_and_decide_the_exit_code(tmp_path: Path, media: Path) -> None:
    broken = tmp_path / "media"
    (broken / "video").mkdir(parents=True)
    whole = (media / "video" / "a.mp4").read_bytes()
    for name in ("b", "test1", "val1"):
        (broken / "video" / f"{name}.mp4").write_bytes((media / "video" / f"{name}.mp4").read_bytes())
    path = _recipe(tmp_path, splits={"train": 1.0}, sources=[{"name": "video", "kind": "video", "folder": "video"}],
                   test=[], val=[], transcripts=None)  # fmt: skip
    arguments = ["synth", str(path), "-o", str(tmp_path / "o"), "--clips", "6", "--sources", str(broken)]
    # zeros over the coded data: header and length are right, nothing decodes
    at = whole.index(b"mdat") + 4
    end = whole.rindex(b"moov") - 4  # the header comes last in files that are not "faststart"
    assert end > at
    (broken / "video" / "a.mp4").write_bytes(whole[:at] + bytes(end - at) + whole[end:])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    numbers = json.loads(result.stdout.strip().splitlines()[-1])
    assert 0 < numbers["failed"] < 6
    assert numbers["clips"] == 6 - numbers["failed"]
    assert len((tmp_path / "o" / "failures.jsonl").read_text().splitlines()) == numbers["failed"]
    assert CliRunner().invoke(app, [*arguments, "--allow-errors"]).exit_code == 0


def test_list_and_sources_print_rows(tmp_path: Path, media: Path) -> None:
    rows = CliRunner().invoke(app, ["list"]).stdout.splitlines()
    assert rows[0].startswith("kind\tmodality\tlevels\tunit")
    assert any(row.startswith("hum\taudio\t34 26 18 10 3\t") for row in rows)
    package = {"name": "p", "kind": "photo", "package": "no-such-photos", "folder": "/nowhere"}
    path = _recipe(tmp_path, sources=[{"name": "video", "kind": "video", "folder": "video"}, package],
                   test=["video/test*"], val=[])  # fmt: skip
    result = CliRunner().invoke(app, ["sources", str(path), "--sources", str(media)])
    assert result.exit_code == 0
    assert "video/test1\ttest\t" in result.stdout
    assert "apt-get install no-such-photos" in result.stderr
    assert CliRunner().invoke(app, ["sources", str(tmp_path / "none.yaml")]).exit_code == 2


@pytest.mark.skipif(not list((REPOSITORY / "examples").glob("*.mp4")), reason="examples/ holds no clip")
def test_smoke_recipe_runs_from_the_repository_alone(tmp_path: Path) -> None:
    outcome = synthesise(RECIPES / "smoke.yaml", tmp_path, clips=2)
    assert len(outcome.records) == 2
    assert not outcome.failures
    assert outcome.numbers["not_monotone"] == []
    assert outcome.numbers["dose_not_monotone"] == []
