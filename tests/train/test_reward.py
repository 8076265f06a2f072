"""Answers rewarded by the record: what one is worth, how several are written, and a stage that learns from them."""

from __future__ import annotations

import pytest
import torch
from mixed_records import write_records
from sample_views import make_views

from mllm_avqa.corridor import Corridor
from mllm_avqa.model.prompting import aspect_branch, list_branch
from mllm_avqa.model.rows import collate
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.files import write_models
from mllm_avqa.schema.records import Distortion, Label, Question, Record, read_records
from mllm_avqa.schema.text import TextContext
from train import run as stages
from train.answers import write
from train.cache import CachedWindow
from train.config import Reward, load_config
from train.data import make_row
from train.dry_run import dry_run
from train.questions import Sample
from train.reward import reward, rewardable, weights
from train.trainer import RatingTrainer

NOISE = Distortion(kind="gnoise", modality="video", level=5, start=0.0, end=4.0)
BLUR = Distortion(kind="gblur", modality="video", level=3, start=1.0, end=2.0)
TRUE = "severe Gaussian noise throughout and moderate Gaussian blur from 1 to 2 s"


def asked(answer: str, aspect: str = "video", task: str = "list") -> Question:
    return Question(stage=3, task=task, aspect=aspect, question="List the faults.", answer=answer)


def record(*faults: Distortion) -> Record:
    labels = {a: Label(mean=4.5, pseudo=True) for a in ("video", "audio")}
    questions = [asked(TRUE if faults else "no fault")]
    return Record(id="r", media="r.mp4", end=4.0, dataset="d", group="g", labels=labels, distortions=list(faults),
                  questions=questions)  # fmt: skip


# ---- what an answer is worth ----------------------------------------------------------------------------------------


def worth(text: str, *faults: Distortion, ended: bool = True, answer: str = TRUE) -> float:
    return reward(text, ended, asked(answer), record(*faults), {"video": "good"})


def test_the_true_list_is_worth_one_and_all_else_less():
    """Analytic: every fault named with side, degree and time; what else is said or left out costs."""
    assert worth(TRUE, NOISE, BLUR) == pytest.approx(1.0)
    assert worth("no fault", answer="no fault") == 1.0
    less = [
        "severe Gaussian noise throughout",  # one missed
        "severe Gaussian noise and moderate Gaussian blur",  # when?
        "faint Gaussian noise throughout and severe Gaussian blur from 1 to 2 s",  # degrees
        "severe Gaussian noise throughout and moderate Gaussian blur from 3 to 4 s",
        TRUE + " and strong flicker throughout",  # one too many
        TRUE + " and strong hum throughout",  # of the other side
        "severe noise throughout and moderate blur from 1 to 2 s",  # plain words cover several kinds
        "",
    ]
    assert all(worth(t, NOISE, BLUR) < 0.95 for t in less)
    assert worth("no fault", NOISE, BLUR) < worth("", NOISE, BLUR) < worth(less[0], NOISE, BLUR)
    assert worth(TRUE, NOISE, BLUR, ended=False) < 0.8


def test_naming_everything_and_hedging_do_not_pay():
    kinds = ("Gaussian blur", "Gaussian noise", "flicker", "banding", "black frames", "freezing", "low contrast")
    everything = " and ".join(f"severe {k} throughout" for k in kinds)
    assert worth(everything, NOISE, answer=everything) < 0.3 < worth("severe Gaussian noise throughout", NOISE)
    hedged = "faint Gaussian noise throughout and severe Gaussian noise throughout"
    assert worth(hedged, NOISE, answer=hedged) < 0.7


def test_levels_must_be_those_of_the_scores():
    told = "The picture has severe Gaussian noise throughout. The picture quality is {}."
    right, wrong = (
        reward(told.format(w), True, asked(told, task="describe"), record(NOISE), {"video": "bad"})
        for w in ("bad", "good")
    )
    assert right == pytest.approx(1.0)
    assert wrong < right


def test_groups_teach_by_their_differences():
    assert weights([0.5, 0.5], "grpo") == weights([0.5, 0.5], "best_of") == [0.0, 0.0]
    assert weights([0.0, 1.0, 0.5], "best_of") == [0.0, 1.0, 0.0]
    low, high, middle = weights([0.0, 1.0, 0.5], "grpo")
    assert low == -high < 0 == middle


def test_sides_whose_faults_nobody_listed_are_not_asked_for():
    assert rewardable(record(NOISE), "en", {})
    assert not rewardable(record(NOISE), "en", {"video": "absent"})
    voted = record().model_copy(update={"labels": {"video": Label(mean=2.0)}})
    assert not rewardable(voted, "en", {})


# ---- writing --------------------------------------------------------------------------------------------------------


def test_answers_written_side_by_side_are_those_written_alone(tiny, tiny_dir, facts):
    """Reference run: one question after the other, one token after the other, behind a held clip."""
    card = Card.load(tiny_dir)
    corridor = Corridor(tiny, card)
    windows = [CachedWindow(make_views(k, 1.0 + k), facts[k:], TextContext(), {}) for k in range(2)]
    questions = [list_branch("video"), list_branch("audio")]
    rows = [make_row(tiny, Sample(record(), w, [aspect_branch("overall"), *questions], "en"), card) for w in windows]
    ends = [[s + b.stem_end for s, b in zip(r.starts, r.branches, strict=True)][1:] for r in rows]
    told = write(tiny, collate(rows, 0), torch.tensor(ends), Reward(tokens=12), None)
    for w, answers in zip(windows, told, strict=True):
        _, held = corridor.hold(corridor.encode(w, "en"))
        for q, ids in zip(questions, answers, strict=True):
            assert [i for i in ids if i != tiny.end_id] == list(held.tokens(q, 12))


# ---- a stage --------------------------------------------------------------------------------------------------------

CONFIG = """
name: toy
records: {records}
output: {output}
languages: [en]
bf16: false
build: {{size: {{vocab: 700, llm: [64, 2], vision: [64, 1], audio: [64, 1], heads: 2}}, see_bands: false}}
views: {{window_seconds: 1, hop_seconds: 1, segments: 2, global_pixels: 4704, fragment_grid: [2, 3]}}
stages:
  - name: told
    steps: 45
    batch: 4
    lr: 5.0e-3
    mixture: {{lists: 1}}
    dropout: {{facts: 0, views: 0, context: 0}}
    save_every: 45
  - name: reward
    steps: 14
    batch: 4
    lr: 7.0e-4 # at 2e-3 one of five seeds falls for the other list
    reward: {{samples: 8, questions: 1, tokens: 16, temperature: 0.5}}
    dropout: {{facts: 0, views: 0, context: 0}}
    save_every: 4
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Records that teach two lists for one fault, so that a model says either: only the commoner one is rewarded."""
    folder = tmp_path_factory.mktemp("toy")
    path = write_records(folder / "data", train=6, val=0)
    out = []
    for r in read_records(path):
        if "video" in r.labels:
            labels = {a: Label(mean=4.5, pseudo=True) for a in r.labels}
            fault = NOISE.model_copy(update={"end": 1.0})
            both = [asked("severe Gaussian noise throughout")] * 2 + [asked("no fault")]
            out.append(r.model_copy(update={"labels": labels, "distortions": [fault], "questions": both}))
    write_models(path, out)
    return folder


def config(folder, name: str, *more: str):
    text = CONFIG.format(records=folder / "data" / "records.jsonl", output=folder / name)
    (folder / f"{name}.yaml").write_text(text)
    return load_config(folder / f"{name}.yaml", list(more))


class Killed(Exception):
    pass


def test_rewards_rise_scores_stay_and_a_killed_run_is_the_unbroken_one(toy, monkeypatch):
    import json
    import shutil

    last = stages.run(config(toy, "a"))
    report = json.loads((last / "stage.json").read_text())
    first, end = report["reward"]
    assert end > first + 0.1, (first, end)
    assert report["reload_max_diff"] <= 1e-5
    assert Card.load(last).training["reward"]["reward"] == "grpo"
    scores = []
    for folder in (toy / "a" / "told", last):
        backbone, card = stages.reopened(folder)
        corridor = Corridor(backbone, card)
        window = CachedWindow(make_views(), [], TextContext(), {})
        scores.append(corridor.score([corridor.encode(window, "en")])[0])
    assert all(abs(scores[0][a].score - s.score) < 0.1 for a, s in scores[1].items())

    shutil.copytree(toy / "a" / "told", toy / "b" / "told")
    step = RatingTrainer.training_step

    def dies(self, *args, **kwargs):
        if self.state.global_step == 6:
            raise Killed
        return step(self, *args, **kwargs)

    again = config(toy, "b", f"init={toy / 'a' / 'start'}")
    monkeypatch.setattr(RatingTrainer, "training_step", dies)
    with pytest.raises(Killed):
        stages.run(again)
    monkeypatch.setattr(RatingTrainer, "training_step", step)
    a, b = (stages.reopened(f)[0].model.named_parameters() for f in (last, stages.run(again)))
    for (name, x), (_, y) in zip(a, b, strict=True):
        assert torch.allclose(x, y, atol=1e-6), name


def test_best_of_n_learns_too_and_the_dry_run_tells_of_it(toy):
    best = config(toy, "a", "stages.1.reward.method=best_of", "stages.1.name=best", "stages.1.steps=3")
    assert dry_run(best)["stages"][1]["reward"]["method"] == "best_of"
    stages.run(best)


def test_what_cannot_be_rewarded_is_refused(toy):
    with pytest.raises(ConfigError, match="leave out `mixture`"):
        config(toy, "c", "stages.1.mixture={stage2: 1}")
    with pytest.raises(ConfigError, match=r"samples.*greater than or equal to 2"):
        config(toy, "c", "stages.1.reward.samples=1")
    bare = [r.model_copy(update={"questions": []}) for r in read_records(toy / "data" / "records.jsonl")]
    write_models(toy / "data" / "bare.jsonl", bare)
    with pytest.raises(ConfigError, match="list or description of faults that are known"):
        dry_run(
            config(
                toy,
                "c",
                f"records={toy / 'data' / 'bare.jsonl'}",
                f"init={toy / 'a' / 'start'}",
                "stages=[{name: r, steps: 2, reward: {}}]",
            )
        )
