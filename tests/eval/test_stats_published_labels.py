"""Statistics of public label and vote files against the numbers published for them; skipped where the files are not."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from data_recipes.votes import read_votes, screen, summary
from eval.correlation.numbers import study
from eval.joining import ColumnNames, record_entry
from eval.stats import Spread, kendall, pearson, residual_spearman, rmse, spearman
from mllm_avqa.schema.records import Label, Record

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
SUREAL = "Netflix/sureal test/{}@526715c9"
needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="label fixtures are not beside the checkout")


def rows_of(name):
    with (FIXTURES / name).open(encoding="utf-8-sig", newline="") as f:
        return list(csv.DictReader(f))


def column_of(rows, name):
    return np.array([float(r[name]) for r in rows])


@cache
def speech():
    """{statistic: ours} of the example of the SHEET toolkit: 1,066 predictions of BVCC, and means of its systems."""
    rows = rows_of("voicemos/bvcc_test_truth_and_prediction.csv")
    by_system = {}
    for r in rows:
        by_system.setdefault(r["system_id"], []).append((float(r["answer"]), float(r["avg_score"])))
    levels = {
        "clips": (column_of(rows, "answer"), column_of(rows, "avg_score")),
        "systems": np.array([np.mean(v, axis=0) for v in by_system.values()]).T,
    }
    out = {}
    for name, (x, y) in levels.items():
        out |= {f"{name}, MSE": rmse(x, y) ** 2, f"{name}, PLCC": pearson(x, y)}
        out |= {f"{name}, SRCC": spearman(x, y), f"{name}, KRCC": kendall(x, y)}
    return out


@cache
def laboratory():
    """{statistic: ours} of three tests whose votes are public."""
    votes = read_votes(FIXTURES / "per_subject/NFLX_dataset_public_raw.csv")
    e = summary(votes)
    order = {p: k for k, p in enumerate(e.votes.clips)}
    reference = {c: p for c, p in ((content(p), p) for p in order) if p.endswith("fps.yuv")}
    dmos = np.array([e.score[k] - e.score[order[reference[content(p)]]] + 5 for p, k in order.items()])
    spread = Spread.of_votes(e.std, votes.n_clip.astype(float))
    out = {"MOS": e.score.mean(), "error of MOS": spread.error.mean(), "std of votes": e.std.mean()}
    out |= {"DMOS": dmos.mean()}
    noisy = read_votes(FIXTURES / "per_subject/NFLX_dataset_public_raw_last4outliers.csv")
    kept = noisy.without(screen(noisy, ddof=0).rejected)  # the published code takes s with n
    said = summary(kept).score[kept.clip]
    out |= {"votes, PLCC": pearson(said, kept.score), "votes, SRCC": spearman(said, kept.score)}
    return out | {"votes, RMSE": rmse(said, kept.score)}


def content(path):
    return path.rsplit("/", 1)[-1].split("_", 1)[0]


def koniq_std():
    """Largest gap between our standard deviation of a record's votes and the published one, of 10,073 pictures."""
    gaps = []
    for r in rows_of("koniq10k/koniq10k_distributions_sets.csv"):
        votes = [float(r[f"c{i}"]) * float(r["c_total"]) for i in range(1, 6)]
        mean = float(np.dot(votes, range(1, 6))) / sum(votes)
        record = Record(
            id="x", media="x.jpg", dataset="koniq", group="x", labels={"overall": Label(mean=mean, votes=votes)}
        )
        gaps.append(abs(record_entry(record).votes["overall"].std - float(r["SD"])))
    return max(gaps)


def hd3_dmos():
    """DMOS of the 8 copies of the first source: MOS - MOS of hrc00 + 5."""
    e = summary(read_votes(FIXTURES / "per_subject/VQEGHD3_dataset_raw.csv"))
    score = {p.rsplit("/", 1)[-1]: v for p, v in zip(e.votes.clips, e.score, strict=True)}
    copies = [f"vqeghd3_src01_hrc{k:02d}_cut.avi" for k in (4, 7, 16, 17, 18, 19, 20, 21)]
    return [score[c] - score["vqeghd3_src01_hrc00_cut.avi"] + 5 for c in copies]


def high_frame_rates():
    """({name: published MOS}, our MOS in the same order): z-scores per subject, then (z + 3) * 100 / 6."""
    with (FIXTURES / "live_hfr/subject_raw.csv").open(newline="") as f:
        lines = list(csv.reader(f))[1:]
    raw = np.array([[float(x) for x in line[1:]] for line in lines])
    raw[raw == -1] = np.nan
    z = (raw - np.nanmean(raw, axis=0)) / np.nanstd(raw, axis=0, ddof=1)
    with (FIXTURES / "live_hfr/subject_MOS.csv").open(newline="") as f:
        names, mos, *_ = csv.reader(f)
    published = dict(zip(names[1:], map(float, mos[1:]), strict=True))
    assert [line[0] for line in lines] == list(published)
    return published, np.nanmean((z + 3) * 100 / 6, axis=1)


def listener_means():
    """Largest gap between the mean of 25,440 single votes and the published score, of 4,040 clips."""
    with (FIXTURES / "voicemos/svcc23_answer.csv").open(newline="") as f:
        published = {name: float(score) for name, score in csv.reader(f)}
    votes = {}
    for r in rows_of("voicemos/svcc23_listener_wise_answer.csv"):
        votes.setdefault(r["sample_id"], []).append(float(r["score"]))
    assert votes.keys() == published.keys()
    return max(abs(np.mean(v) - published[k]) for k, v in votes.items())


SHEET = "unilight/sheet docs/benchmarking.md@7ea80cc2"
MODEL = SUREAL.format("subjective_model_test.py")
ROUTINE = SUREAL.format("routine_test.py, SubjrejMosModel")
# (statistic, how ours is computed, published value, tolerance, where it is printed)
PUBLISHED = [
    *(
        (f"BVCC {name}", lambda name=name: speech()[name], value, tolerance, SHEET)
        for name, value, tolerance in (
            ("clips, MSE", 0.271, 5e-4),
            ("clips, PLCC", 0.867, 5e-4),
            ("clips, SRCC", 0.870, 5e-4),
            ("clips, KRCC", 0.693, 5e-4),
            ("systems, MSE", 0.123, 5e-4),
            ("systems, PLCC", 0.9299, 5e-5),
            ("systems, SRCC", 0.9302, 5e-5),
            ("systems, KRCC", 0.777, 5e-4),
        )
    ),
    *(
        (f"NFLX {name}", lambda name=name: laboratory()[name], value, 1e-9, source)
        for name, value, source in (
            ("MOS", 3.544790652385589, MODEL),
            ("error of MOS", 0.12986637295658307, MODEL),
            ("std of votes", 0.6621911698651353, MODEL),
            ("DMOS", 3.7731256085686473, MODEL),
            ("votes, PLCC", 0.8464373811744285, ROUTINE),
            ("votes, SRCC", 0.8177055264518673, ROUTINE),
            ("votes, RMSE", 0.7245056285684048, ROUTINE),
        )
    ),
    (
        "VQEG HD3 DMOS of source 1",
        hd3_dmos,
        [5.0, 4.75, 2.125, 2.583333333, 2.125, 3.333333333, 3.833333333, 4.541666667],
        1e-8,
        "Netflix/vmaf resource/dataset/VQEGHD3_dataset.py@7b23302b",
    ),
    ("KonIQ-10k std of votes, largest gap", koniq_std, 0.0, 1e-10, "subpic/koniq metadata, column SD"),
    ("SVCC 2023 means of listeners, largest gap", listener_means, 0.0, 1e-12, "unilight/sheet egs/svcc23/answers"),
]


@needs_fixtures
@pytest.mark.parametrize(
    ("compute", "published", "tolerance"), [p[1:4] for p in PUBLISHED], ids=[p[0] for p in PUBLISHED]
)
def test_published(compute, published, tolerance):
    assert compute() == pytest.approx(published, rel=0, abs=tolerance)


@needs_fixtures
def test_scores_of_live_hfr():
    # published: subject_DMOS.csv is subject_MOS.csv of the 120 fps reference minus that of the clip. Its MOS are means
    # of z-scores per session; which session a vote was given in is not in the file, so ours, per subject, come close
    published, ours = high_frame_rates()
    theirs = np.array([*published.values()])
    assert pearson(ours, theirs) > 0.9975
    assert np.abs(ours - theirs).max() < 2.7
    rows = rows_of("live_hfr/subject_DMOS.csv")
    mine = [published[f"{r['File Names'].split('_crf_')[0]}_crf_0_120fps"] - published[r["File Names"]] for r in rows]
    assert len(rows) == 464
    assert mine == pytest.approx(column_of(rows, "DMOS").tolist(), abs=1e-9)


@needs_fixtures
def test_the_command_gives_the_published_numbers(tmp_path):
    # published: as above; both columns are in one table, joined with itself
    table = FIXTURES / "voicemos/bvcc_test_truth_and_prediction.csv"
    columns = ColumnNames(id="sample_id", scores=("avg_score",), group="system_id")
    found = study(table, table, label_columns=columns, score_columns=("answer",), id_column="sample_id", draws=100)
    a = found.result.aspects["overall"]
    assert (a.plcc.value, a.srcc.value, a.krcc.value) == pytest.approx((0.867, 0.870, 0.693), abs=5e-4)
    assert a.n == a.m == 1066


@needs_fixtures
def test_two_copies_of_konvid_agree():
    # published twice: the labels of FAST-VQA and of VIDEVAL are one column, joined by file name
    with (FIXTURES / "konvid_1k/fastvqa_labels.txt").open(newline="") as f:
        first = {line[0].rsplit("/", 1)[-1]: float(line[3]) for line in csv.reader(f)}
    second = {f"{r['flickr_id']}.mp4": float(r["mos"]) for r in rows_of("konvid_1k/videval_metadata.csv")}
    names = sorted(first)
    x, y = (np.array([d[n] for n in names]) for d in (first, second))
    assert first.keys() == second.keys()
    assert (spearman(x, y), rmse(x, y)) == pytest.approx((1.0, 0.0), abs=1e-12)


@needs_fixtures
def test_halo_of_real_audiovisual_labels():
    # reference run: SRCC among the labels of YT-NTU-AVQ (1,620 clips) is .994 for the video, .971 for the audio
    rows = rows_of("yt_ntu_avq/meta_info_YT-NTU-AVQ.csv")
    both, v, a = (column_of(rows, c) for c in ("score_all", "score_v", "score_a"))
    assert spearman(both, v) == pytest.approx(0.994, abs=5e-4)
    assert spearman(both, a) == pytest.approx(0.971, abs=5e-4)
    noise = np.random.default_rng(0).normal(0, 1e-6, len(both))
    assert abs(residual_spearman(both + noise, both, a, v)) < 0.06
