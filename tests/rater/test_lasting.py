"""A fault is timed by all windows that hold it, not by the one that was asked for times."""

import pytest
from faulty_clips import write

from mllm_avqa.model.explain import check_claims
from mllm_avqa.model.explain import write as explained
from mllm_avqa.model.findings import finding
from mllm_avqa.rater.lasting import AskedWindow, lasting, on_average
from mllm_avqa.schema.card import FindingRules
from mllm_avqa.schema.clip import MediaInfo
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.rating import Rating, ScoreDistribution
from mllm_avqa.schema.whole import Coverage, Whole

RULES = FindingRules(threshold=0.2)


def fact(name, severity, value=1.0, spans=()):
    return Measurement(name=name, modality="audio", value=value, unit="", severity=severity, spans=list(spans))


def rated(coverage=1.0, whole=(), language="en"):
    score = ScoreDistribution(score=2.0, std=0.5, level="poor", probs={}, mass=1.0)
    seen = Coverage(duration=32.0, seconds=32.0 * coverage, share=coverage, whole=coverage == 1.0, full_pass="done")
    known = Whole(until=32.0, complete=True, facts=list(whole))
    return Rating(
        path="c.mp4", scores={"audio": score}, coverage=seen, whole=known, language=language,
        media=MediaInfo(path="c.mp4", container="mp4", duration=32.0, size_bytes=1),
    )  # fmt: skip


def parts(*given):
    """Windows of eight seconds: the severity of the noise floor, or the probability of reverberation, of each."""
    return [
        AskedWindow(8.0 * n, 8.0 * n + 8, [fact("noise_floor", g)] if isinstance(g, str) else [], (),
             {"reverb": g} if not isinstance(g, str) else {})
        for n, g in enumerate(given)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "span", "spans"),
    [
        (("strong", "moderate", "strong", "slight"), None, []),  # throughout, though the worst window alone was asked
        (("strong", "strong", "none", "slight"), (0.0, 16.0), [(0.0, 16.0), (24.0, 32.0)]),
        (("none", "none", "strong", "strong"), (16.0, 32.0), []),
    ],
)
def test_the_facts_of_every_window_say_where_a_measured_kind_is(given, span, spans):
    f = lasting(
        finding("white", "strong", "en", span=(16.0, 24.0), facts=["noise_floor"]), parts(*given), rated(), RULES
    )
    assert (f.span, f.spans) == (span, spans)


@pytest.mark.parametrize(("given", "span"), [((0.3, 0.15, 0.4, 0.2), None), ((0.3, 0.02, 0.05, 0.01), (0.0, 8.0))])
def test_the_lists_of_the_windows_say_where_a_kind_is_that_nothing_measures(given, span):
    assert lasting(finding("reverb", "strong", "en", span=(0.0, 8.0)), parts(*given), rated(), RULES).span == span


def test_a_time_inside_the_only_window_that_holds_a_fault_is_kept():
    f = finding("white", "strong", "en", span=(9.0, 11.5), facts=["noise_floor"])
    assert lasting(f, parts("none", "strong", "none", "none"), rated(), RULES) == f


def test_the_pass_over_the_whole_file_knows_best():
    whole = [fact("dropouts", "strong", 5.0, [(3.0, 4.5), (20.0, 20.5)])]
    f = lasting(finding("dropout", "strong", "en", span=(0.0, 8.0)), parts("none", "none"), rated(whole=whole), RULES)
    assert (f.span, f.spans) == ((3.0, 4.5), [(3.0, 4.5), (20.0, 20.5)])


def test_what_most_windows_hold_is_found_though_the_worst_one_is_bad_for_another_reason():
    told = [AskedWindow(p.start, p.end, [], _lists(), p.probable) for p in parts(0.3, 0.3, 0.1, 0.4)]
    assert [(f.kind, f.probability) for f in on_average(told, [], rated(), RULES)] == [("reverb", 0.275)]
    assert on_average(parts(0.3, 0.1, 0.1, 0.1), [], rated(), RULES) == []


def _lists():
    import numpy as np

    from mllm_avqa.model.findings import Asked

    return (Asked("audio", ["reverb"], np.array([[-9.0, -9.0, -1.0, -9.0, -9.0]]), 0.1),)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("coverage", "spans", "told"),
    [
        (1.0, [], {"en": "throughout (", "zh": "全程"}),
        (0.1, [], {"en": "throughout the parts looked at", "zh": "在抽查的各段中始终"}),
        (1.0, [(0.0, 16.0), (24.0, 32.0)], {"en": "from 0 to 16 s and from 24 to 32 s", "zh": "0到16秒和24到32秒"}),
        (1.0, [(k, k + 0.5) for k in range(9)], {"en": "at 9 places from 0 to 8.5 s", "zh": "0到8.5秒之间共9处"}),
    ],
)
def test_times_are_told_as_far_as_they_are_known_and_contradict_nothing(language, coverage, spans, told):
    rating = rated(coverage, language=language)
    rating.evidence = [fact("noise_floor", "strong", -30.0, spans)]
    f = finding("white", "strong", language, span=spans[0] if spans else None, spans=spans, facts=["noise_floor"])
    rating.findings = [f]
    text = explained(lambda asked: [[-1.0, 0.0] for _ in asked], rating, language)
    assert told[language] in text
    assert "contradicted" not in {c.support for c in check_claims(text, rating, language)}


def test_a_rater_times_a_fault_of_three_windows_by_all_of_them(tiny_dir, tmp_path):
    """Sound at full scale from 2 to 8 s of eight, in windows of two."""
    from test_rater_whole import opened

    rater = opened(tiny_dir, full_pass=False)
    try:
        rating = rater.rate(write(tmp_path / "a.mkv", full=[(2, 8)], seconds=8), explain=False)
        always = rater.rate(write(tmp_path / "b.mkv", full=[(0, 8)], seconds=8), explain=False)
        many = next(iter(rater.rate_many([tmp_path / "a.mkv"], findings=True)))
    finally:
        rater.close()
    assert [(f.origin, f.span) for f in rating.findings if f.kind == "loud"] == [("measured", (2.0, 8.0))]
    assert many.findings == rating.findings
    assert [f.span for f in always.findings if f.kind == "loud"] == [None]
