"""Claims of descriptions against records. How they are read: tests/model/test_claims.py."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from data_recipes.distortions import REGISTRY
from data_recipes.questions import describe_clip
from mllm_avqa.model.claims import read_claims
from mllm_avqa.model.prompting import LANGUAGES
from mllm_avqa.model.truth import MEASURES, check, listed
from mllm_avqa.schema.faults import fault_kinds, shared_words
from mllm_avqa.schema.records import Distortion, Label, Record

sys.path.append(str(Path(__file__).parent.parent / "data_recipes"))
from question_records import some_clips


def record(*faults, pseudo=True, scores=None, end=4.0):
    labels = {
        a: Label(mean=m, pseudo=pseudo) for a, m in (scores or {"video": 4.5, "audio": 4.5, "overall": 4.5}).items()
    }
    made = [Distortion(kind=k, modality=m, level=n, start=a, end=z) for k, m, n, a, z in faults]
    return Record(id="r", media="r.mp4", start=0.0, end=end, dataset="d", group="g", labels=labels, distortions=made)


BLUR = ("gblur", "video", 4, 1.0, 2.5)
HUM = ("hum", "audio", 2, 0.0, 4.0)


def test_every_kind_has_its_side_in_both_languages():
    assert {k: f.side for k, f in fault_kinds().items()} == {k: v.modality for k, v in REGISTRY.items()}
    assert all(REGISTRY[k].modality == side for side, shared in shared_words() for k in shared.kinds)


@pytest.mark.parametrize("style", ["short", "steps"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_taught_descriptions_are_right_in_every_respect(style, language):
    """Analytic: a description written from a record states its faults and nothing else."""
    for n, r in enumerate(some_clips(40)):
        found = check(read_claims(describe_clip(r, Random(n), language, style), language), r)
        assert not found.wrong
        assert not found.contradicted
        for m in MEASURES:
            right, claimed, true = found.counts[m]
            assert right == claimed == true, (m, r.distortions)


# ---- checking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "measure", "counts"),
    [  # right, claimed, true, against blur of level 4 from 1 to 2.5 s and hum of level 2 all the time
        ("The picture has strong Gaussian blur from 1 to 2.5 s.", "type", (1, 1, 2)),
        ("The picture has strong Gaussian blur from 1 to 2.5 s.", "all", (1, 1, 2)),
        ("The picture has defocus.", "type", (0, 1, 2)),
        ("The picture has defocus.", "modality", (1, 1, 2)),
        ("The picture is blurred.", "type", (1, 1, 2)),  # the plain word covers it
        ("The picture has moderate Gaussian blur.", "severity", (1, 1, 2)),
        ("The picture has moderate Gaussian blur.", "severity_exact", (0, 1, 2)),
        ("The picture has slight Gaussian blur.", "severity", (0, 1, 2)),
        ("The picture has Gaussian blur.", "severity", (0, 0, 2)),  # nothing stated, nothing wrong, yet not found
        ("Gaussian blur from 1 to 1.75 s.", "span", (1, 1, 2)),  # overlap .75 / 1.5
        ("Gaussian blur from 1 to 1.7 s.", "span", (0, 1, 2)),
        ("Gaussian blur throughout.", "span", (0, 1, 2)),  # 1.5 / 4
        ("Hum throughout.", "span", (1, 1, 2)),
        ("The picture has slight hum throughout.", "all", (0, 1, 2)),  # of the wrong side
        ("Gaussian blur from 1 to 2.5 s. Gaussian blur from 3 to 4 s.", "type", (1, 2, 2)),  # one answers for one
        ("", "type", (0, 0, 2)),
    ],
)
def test_counts(text, measure, counts):
    assert check(read_claims(text, "en"), record(BLUR, HUM)).counts[measure] == counts


def test_the_best_of_several_assignments_is_taken():
    r = record(("gblur", "video", 1, 0.0, 1.0), ("gblur", "video", 5, 2.0, 4.0))
    found = check(read_claims("Severe Gaussian blur from 2 to 4 s. Faint Gaussian blur from 0 to 1 s.", "en"), r)
    assert found.counts["all"] == (2, 2, 2)


def test_claims_on_a_side_nobody_described_are_open():
    text = read_claims("The picture has banding. The sound has hum.", "en")
    poor = record(HUM, scores={"video": 2.0, "audio": 4.5})
    assert not listed(poor, "video")
    found = check(text, poor)
    assert [f.name for f in found.open] == ["banding"]
    assert found.counts["type"] == (1, 1, 1)
    assert [f.name for f in check(text, record(HUM)).wrong] == ["banding"]


@pytest.mark.parametrize(
    ("text", "contradicted", "statements"),
    [
        ("The picture is clean.", 1, 1),
        ("Nothing disturbs.", 1, 1),
        ("The timing has no fault.", 0, 1),
        ("The picture has defocus.", 1, 1),
        ("The picture has severe Gaussian blur.", 0, 1),
        ("The picture has faint Gaussian blur.", 1, 1),
        ("The sound is poor.", 1, 1),  # its label is 4.5
        ("The sound is good.", 0, 1),
        ("It is a sunny day.", 0, 0),
    ],
)
def test_contradictions_by_the_record(text, contradicted, statements):
    found = check(read_claims(text, "en"), record(BLUR))
    assert (len(found.contradicted), found.statements) == (contradicted, statements)
