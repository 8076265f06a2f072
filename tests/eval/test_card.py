"""The whole measurement on a random-weight checkpoint: shapes, counts, invariants; and the card it writes."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.baselines import ON_FACTS, ON_TOWERS
from eval.held_out import CONDITIONS
from eval.model_card import render
from eval.probes import Explanations, independence, lines, with_text
from eval.samples import spread
from eval.stats import wilson
from eval.studies.card import _lines
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.rating import Claim
from mllm_avqa.schema.records import Distortion, Label, Question, Record, write_records

CLIPS = 6


def synth(path, seed, sound=True):
    """0.6 s of moving noise, 96 x 64, with or without a tone."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        picture = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
        for k in range(6):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.roll(picture, 3 * k, 1), format="rgb24")))
        out.mux(video.encode(None))
        if audio is not None:
            t = np.arange(9600) / 16000
            tone = (0.3 * np.sin(2 * np.pi * (200 + 90 * seed) * t)).astype(np.float32)
            for i in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, i : i + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, i, Fraction(1, 16000)
                out.mux(audio.encode(frame))
            out.mux(audio.encode(None))


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_dir):
    """Results of `python -m eval card ... --write-card` on six clips and one broken file."""
    root = tmp_path_factory.mktemp("held_out")
    checkpoint = root / "checkpoint"
    shutil.copytree(tiny_dir, checkpoint)
    records = []
    for i in range(CLIPS + 1):
        media = root / f"{i}.mp4"
        if i < CLIPS:
            synth(media, i, sound=i != 5)
        else:
            media.write_bytes(b"not a clip")
        records.append(
            Record(
                id=f"c{i}",
                media=media.name,
                dataset="d",
                group=f"v{i}+a{i}",
                split="test",
                licence="CC0-1.0; MIT",
                labels={
                    a: Label(mean=1 + (i * k) % 5 * 0.9, pseudo=True)
                    for a, k in (("overall", 1), ("video", 2), ("audio", 3))
                },
                questions=[
                    Question(stage=1, task="fault", aspect="video", question="Fault?", answer="no" if i % 2 else "yes"),
                    Question(stage=1, task="kind", aspect="audio", question="Which? A. hum B. echo", answer="A. hum",
                             options=["A. hum", "B. echo"]),
                ],
            )
        )  # fmt: skip
    records.append(records[0].model_copy(update={"id": "t", "split": "train", "group": "v0+other"}))
    write_records(root / "records.jsonl", records)
    command = ["card", str(root / "records.jsonl"), "--checkpoint", str(checkpoint), "-o", str(root / "out.json")]
    run = CliRunner().invoke(
        app,
        [
            *command,
            "--lang",
            "en",
            "--probes",
            "1",
            "--told",
            "3",
            "--chunk",
            "4",
            "--context",
            "none",
            "--threads",
            "1",
            "--write-card",
        ],
    )
    assert run.exit_code == 0, run.output
    return json.loads((root / "out.json").read_text()), checkpoint, run


def test_every_condition_counts_every_labelled_clip(measured):
    results = measured[0]
    by_condition = results["aspects"]["en"]
    assert list(by_condition) == list(CONDITIONS)
    for condition in by_condition.values():
        # one of seven files is broken, one of the others has no sound: neither shrinks m
        assert (condition["overall"]["n"], condition["overall"]["m"]) == (CLIPS, CLIPS + 1)
        assert (condition["audio"]["n"], condition["audio"]["m"]) == (CLIPS - 1, CLIPS + 1)
    assert list(results["records"]["failed"]) == [f"c{CLIPS}"]
    assert results["records"]["shared_with_training"] == 1
    assert results["records"]["licences"] == {"CC0-1.0": CLIPS + 2, "MIT": CLIPS + 2}


def test_taking_away_the_sound_cannot_move_an_isolated_video_score(measured):
    full, no_sound = (measured[0]["aspects"]["en"][c]["video"] for c in ("full", "no_sound"))
    assert full == no_sound
    no_pixels = measured[0]["aspects"]["en"]["no_pixels"]
    assert no_pixels["video"] != full
    assert no_pixels["audio"] == measured[0]["aspects"]["en"]["full"]["audio"]


def test_cross_talk_touches_one_side_only(measured):
    talk = measured[0]["crosstalk"]["en"]
    for touched, kept in (("audio", "video"), ("video", "audio")):
        entry = talk[f"{touched}_replaced"]
        # chunks of 4 and 3: four clips with both streams, then one with (5 is silent, 6 broken), alone
        assert entry["n"] == 4
        assert entry[f"{touched}_change"]["max"] > 0
        assert entry[f"{kept}_change"]["max"] <= 1e-3
    assert talk["without_partner"] == 1


def test_injection_and_questions_are_counted(measured):
    results = measured[0]
    injected = results["injection"]["en"]
    assert injected["attacks"]["texts"] == len(lines("attacks")) >= 20
    assert injected["attacks"]["change"]["overall"]["n"] == len(lines("attacks"))
    assert injected["attacks"]["change"]["video"]["max"] <= 1e-3
    assert injected["attacks"]["change"]["overall"]["max"] <= 1e-3  # no score sees what texts say
    stage1 = results["stage1"]["en"]
    assert stage1["fault"]["n"] == stage1["kind"]["n"] == CLIPS
    assert stage1["fault"]["chance"] == stage1["kind"]["chance"] == 0.5
    assert stage1["fault"]["commonest"] == 0.5
    told = results["explanations"]["en"]
    assert told["clips"] == 3
    assert set(told["record"]) == {"statements", "contradicted", "faults", "named"}


def test_texts_are_held_against_the_faults_of_the_record():
    """A fault of level 3 that is named, one that is not, a slight one, and one that nobody made."""
    texts = iter(
        [
            "There is a moderate blur in the picture throughout. There is severe noise in the sound throughout.",
            "No fault was found in the picture.",
        ]
    )

    class Rater:
        card = SimpleNamespace(aspects=("video",))
        corridor = SimpleNamespace(encode=lambda *a, **k: None, hold=lambda e, x: ({}, None))
        scorer = SimpleNamespace(free_text=False)
        backbone = SimpleNamespace(tokenizer=lambda *a, **k: SimpleNamespace(input_ids=[]))

        def find(self, rating, encoded, span):
            rating.withdrawn = [Claim(text="hum", support="contradicted")]

        def explain(self, rating, encoded):
            rating.explanation = next(texts)
            rating.claims = [Claim(text="blur", support="supported")]

    def clip(*faults):
        listed = [Distortion(kind=k, modality=m, level=n, start=0, end=4) for k, m, n in faults]
        labels = {a: Label(mean=4.5, pseudo=True) for a in ("video", "audio")}
        record = Record(id="a", media="a", dataset="d", group="g", end=4, labels=labels, distortions=listed)
        info = MediaInfo(path="a", container="x", size_bytes=1, duration=4.0)
        window = SimpleNamespace(missing={}, evidence=[], info=info, start=0.0, end=4.0)
        return SimpleNamespace(record=record, windows=[window])

    study = Explanations()
    study.add(Rater(), clip(("gblur", "video", 3)), "en")
    study.add(Rater(), clip(("gblur", "video", 4), ("gnoise", "video", 1)), "en")
    found = study.report()
    assert found["record"]["faults"] == 2 and found["record"]["named"] == 1
    assert found["record"]["contradicted"] == 2  # the noise, and "no fault"
    assert found["withdrawn"] == 0.5


def test_the_card_is_written_and_readable(measured):
    results, checkpoint, run = measured
    card = Card.load(checkpoint)
    assert card.results["weights"] == results["fingerprint"]["weights"]
    assert card.results["aspects"]["overall"]["m"] == CLIPS + 1
    text = (checkpoint / "MODEL_CARD.md").read_text()
    for words in (
        "--split test",
        "CC0-1.0",
        "1 of them are also in the training split",
        f"{CLIPS} of {CLIPS + 1}",
        "pseudo-MOS",
    ):
        assert words in text
    assert str(checkpoint.parent) not in text  # no machine paths
    assert str(checkpoint.parent) not in json.dumps(results)
    assert json.loads(run.stdout)["aspects"].keys() == card.results["aspects"].keys()


def test_baselines_stand_beside_the_rows_that_they_belong_to(measured):
    results, checkpoint, _ = measured
    found = {"srcc": {"value": 0.42}, "n": 30, "m": 30}
    told = results | {"baselines": {ON_FACTS: {"video": found}, ON_TOWERS: {"video": found}}}
    own = [line for line in _lines(told, "en", "mine") if line.who in (ON_FACTS, ON_TOWERS)]
    assert [(line.who, line.what, line.beside) for line in own] == [
        (ON_FACTS, "video", ""), (ON_TOWERS, "video", "mine"),
    ]  # fmt: skip
    assert all(line.baseline and line.values["full"].value == 0.42 for line in own)
    card = render(Card.load(checkpoint), told, 0)
    (row,) = [line for line in card.splitlines() if ON_TOWERS in line]
    assert "0.420" in row and row.count("–") == len(results["aspects"]["en"]["full"]) - 1


def test_unknown_split_names_those_there_are(measured, tmp_path):
    write_records(tmp_path / "r.jsonl", [Record(id="a", media="a.mp4", dataset="d", group="g", split="val")])
    run = CliRunner().invoke(app, ["card", str(tmp_path / "r.jsonl"), "--checkpoint", str(measured[1])])
    assert run.exit_code == 2
    assert "there are: val" in run.stderr


def test_independence_of_a_perfect_and_of_a_halo_rater():
    rng = np.random.default_rng(0)
    rows, halo = [], []
    for i in range(80):
        v, a = rng.uniform(1, 5, 2)
        rows.append(({"video": v, "audio": a}, {"video": v, "audio": a}, f"g{i}"))
        halo.append(
            ({"video": (v + a) / 2, "audio": (v + a) / 2 + rng.normal(0, 1e-3)}, {"video": v, "audio": a}, f"g{i}")
        )
    good, bad = independence(rows), independence(halo)
    assert good["residual"]["value"] == 1.0
    assert abs(bad["residual"]["value"]) < 0.3
    assert bad["leak"]["video>audio|video"]["value"] > 0.8
    assert bad["cross"]["video"]["audio"]["srcc"] > 0.5 > abs(good["cross"]["video"]["audio"]["srcc"])


def test_a_user_text_replaces_the_users_text_only(measured, views, facts, context):
    from mllm_avqa.schema.clip import MediaInfo
    from mllm_avqa.schema.text import TextItem
    from mllm_avqa.windows import Prepared

    context.items.append(TextItem(origin="user", text="mine"))
    info = MediaInfo(path="x", container="mp4", size_bytes=1, duration=1)
    p = Prepared(0, 1, info, views, facts, context, {})
    assert [(i.origin, i.text) for i in with_text(p, "attack").context.items] == [
        ("user", "attack"),
        ("subtitle", "hello"),
    ]
    assert [i.origin for i in with_text(p, None).context.items] == ["subtitle"]
    assert len(p.context.items) == 2


def test_spread_and_wilson():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 5) == [1, 2]
    low, high = wilson(5, 10)  # published example values of the Wilson interval for 5 of 10
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)
