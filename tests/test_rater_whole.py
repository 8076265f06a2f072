"""A rating with the pass over the whole file: what is covered is said, and what is covered whole keeps its scores."""

import pytest
from faulty_clips import write
from rich.console import Console
from test_rater import write_video

from mllm_avqa.rater import Rater
from mllm_avqa.report.html import render_html
from mllm_avqa.report.terminal import render
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.words import load_prompts


def opened(tiny_dir, **more):
    """A rater with windows of 2 s, at most four of them."""
    from mllm_avqa.model.backbones import load_backbone

    card = Card.load(tiny_dir)
    views = card.views.model_copy(update={"window_seconds": 2.0, "hop_seconds": 2.0, "max_windows": 4})
    card = card.model_copy(update={"views": views})
    return Rater(load_backbone(tiny_dir, card), card, "none", **more)


@pytest.fixture(scope="module")
def raters(tiny_dir):
    raters = [opened(tiny_dir), opened(tiny_dir, full_pass=False)]
    yield raters
    for r in raters:
        r.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Sixteen seconds, of which four windows of two show a half."""
    return write(tmp_path_factory.mktemp("whole") / "long.mkv", black=[(2, 7)], silence=[(9, 13.5)])


def scores(rating):
    return {a: s.score for a, s in rating.scores.items() if s is not None}


def test_a_clip_that_windows_show_whole_has_the_scores_of_its_windows(raters, tmp_path):
    for seconds in (1.0, 5.0):
        path = write_video(tmp_path / "a.mp4", seconds=seconds)
        with_pass, without = (r.rate(path, explain=False) for r in raters)
        assert scores(with_pass) == pytest.approx(scores(without), abs=1e-6)
        assert with_pass.evidence == without.evidence
        assert with_pass.findings == without.findings
        assert (with_pass.coverage.whole, with_pass.coverage.share) == (True, 1.0)
        assert with_pass.whole.moved == {}
        assert {w.chosen for w in with_pass.windows} == {"all"}


def test_a_long_file_says_what_it_covers_and_pays_for_its_faults(raters, long):
    with_pass, without = (r.rate(long, explain=False) for r in raters)
    assert without.whole is None
    assert (without.coverage.full_pass, without.coverage.share) == ("off", 0.5)
    assert with_pass.coverage.full_pass == "done"
    facts = {m.name: m for m in with_pass.evidence}
    assert facts["black"].spans == [pytest.approx((2.0, 7.0), abs=0.05)]
    assert facts["silence"].spans == [pytest.approx((9.0, 13.5), abs=0.02)]
    assert {w.chosen for w in with_pass.windows} == {"even", "worst"}
    assert sum(w.stands_for for w in with_pass.windows) == pytest.approx(16.0, abs=0.2)
    black = next(f for f in with_pass.findings if f.kind == "black_frames")
    assert (black.origin, black.span) == ("measured", pytest.approx((2.0, 7.0), abs=0.05))
    assert with_pass.fingerprint["views"] != without.fingerprint["views"]


def test_many_files_have_the_ratings_of_one(raters, long):
    (many,) = raters[0].rate_many([long])
    one = raters[0].rate(long, explain=False)
    assert scores(many) == pytest.approx(scores(one), abs=1e-4)
    assert (many.whole, many.coverage) == (one.whole, one.coverage)


def test_all_windows_of_a_long_file_cover_it(tiny_dir, long):
    rater = opened(tiny_dir, windows="all")
    rating = rater.rate(long, explain=False)
    rater.close()
    assert (len(rating.windows), rating.coverage.whole) == (8, True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_whole_clip_is_said_only_where_it_is_true(raters, long, tmp_path, language):
    whole = load_prompts("words", language)["report"]["whole"]
    part = load_prompts("words", language)["coverage"]["worst"]
    short = raters[1].rate(write_video(tmp_path / "a.mp4"), explain=False).model_copy(update={"language": language})
    assert whole in render_html(short)
    rating = raters[1].rate(long).model_copy(update={"language": language})
    page = render_html(rating)
    console = Console(record=True, width=200)
    console.print(render(rating))
    for text in (page, console.export_text()):
        assert f">{whole}<" not in text
        assert "50 %" in text
    assert part in page
    assert all(f.span is not None for f in rating.findings if f.origin == "model")
