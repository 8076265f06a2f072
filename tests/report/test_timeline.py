"""A rating over time: rows, lanes, and a page that plays the clip that lies beside it."""

import csv
import html
import re
import sys
from pathlib import Path

import pytest
from pyarrow import parquet
from test_reports import HOSTILE, Tags

sys.path.insert(0, str(Path(__file__).parent.parent / "batch"))
from fake_rater import distribution, rating_of

from mllm_avqa.report.html import render_html, write_html
from mllm_avqa.report.timeline import lanes, loudness_curve, source_beside, timeline_rows, write_timeline
from mllm_avqa.schema.errors import OutputError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.rating import Window
from mllm_avqa.schema.whole import Coverage, Timeline, Whole


@pytest.fixture
def rating():
    """A hundred seconds, of which twenty are black, and two windows."""
    found = rating_of("clips/a.mp4")
    found.media.duration = 100.0
    scores = {"overall": distribution(2), "video": distribution(3)}
    found.windows = [
        Window(start=0.0, end=8.0, scores=scores, chosen="even", stands_for=92.0),
        Window(start=30.0, end=38.0, scores={"video": distribution(1)}, chosen="worst", stands_for=8.0),
    ]
    facts = [
        Measurement(name="black", modality="video", value=20.0, unit="%", severity="severe", spans=[(30, 40), (60, 70)])
    ]
    seconds = {
        "black": [float(30 <= k < 40 or 60 <= k < 70) for k in range(100)],
        "momentary_loudness": [-23.0] * 50 + [None] * 50,
    }
    found.whole = Whole(until=100.0, complete=True, facts=facts, timeline=Timeline(facts=seconds), moved={"video": 0.2})
    found.evidence = facts
    found.coverage = Coverage(duration=100.0, seconds=16.0, share=0.16, whole=False, full_pass="done")
    return found


def test_rows_hold_facts_and_scores_of_every_second(rating, tmp_path):
    rows = timeline_rows(rating)
    assert len(rows) == 100
    assert rows[35] == {
        "second": 35.0, "black": 1.0, "momentary_loudness": -23.0, "overall_score": None,
        "video_score": distribution(1).score, "audio_score": None, "sync_score": None, "text_score": None,
    }  # fmt: skip
    assert (rows[3]["overall_score"], rows[20]["overall_score"]) == (distribution(2).score, None)
    assert write_timeline(rating, tmp_path / "t.csv") == write_timeline(rating, tmp_path / "t.parquet") == 100
    with (tmp_path / "t.csv").open() as f:
        told = list(csv.DictReader(f))
    kept = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    for row, text, cells in zip(rows, told, kept, strict=True):
        assert {k: float(v) if v else None for k, v in text.items()} == row == cells


def test_timelines_of_other_kinds_are_refused(rating, tmp_path):
    with pytest.raises(OutputError, match=r"--timeline .*\.csv or \.parquet"):
        write_timeline(rating, tmp_path / "t.txt")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--timeline"):
        write_timeline(rating, tmp_path / "file" / "t.csv")


@pytest.mark.parametrize("language", LANGUAGES)
def test_lanes_show_what_was_looked_at_and_when_facts_hold(rating, language):
    looked, black = lanes(rating, language, 100.0)
    assert (looked.name, [b.x for b in looked.bars], [b.width for b in looked.bars]) == ("windows", [0, 300], [80, 80])
    assert [(b.x, b.width, b.start) for b in black.bars] == [(300, 100, 30), (600, 100, 60)]
    points = loudness_curve(rating, 100.0, 56.0).split()
    assert len(points) == 100
    assert float(points[0].split(",")[1]) == pytest.approx(56 * 23 / 60, abs=0.1)  # analytic: 0 to -60 LUFS
    assert float(points[-1].split(",")[1]) == 56.0
    page = render_html(rating.model_copy(update={"language": language}))
    assert black.label in page
    assert looked.label in page


def test_the_clip_is_played_where_it_lies_beside_the_page_or_below(rating, tmp_path):
    below = tmp_path / "clips" / "a #1 'x'.mp4"
    below.parent.mkdir()
    below.touch()
    assert source_beside(tmp_path / "r.html", below) == "./clips/a%20%231%20%27x%27.mp4"
    assert source_beside(tmp_path / "pages" / "r.html", below) is None
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "linked.mp4").symlink_to(below)
    assert source_beside(tmp_path / "pages" / "r.html", tmp_path / "pages" / "linked.mp4") == "./linked.mp4"
    write_html(rating, tmp_path / "r.html", clip=below)
    page = (tmp_path / "r.html").read_text()
    tags = Tags(page)
    assert tags.tags.count("video") == tags.tags.count("script") == 1
    assert {v for k, v in tags.attributes if k == "data-t"} >= {"30", "60"}
    assert all(v.startswith("./clips/") for k, v in tags.attributes if k == "href")
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_allows_its_own_script_alone(rating):
    import base64
    import hashlib

    page = html.unescape(render_html(rating, source="./a.mp4"))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", page)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert "script" not in Tags(render_html(rating)).tags
    assert "script-src" not in render_html(rating)


def test_names_of_strangers_stay_names(rating, tmp_path):
    rating.path = HOSTILE
    page = render_html(rating, source=source_beside(tmp_path / "r.html", tmp_path / "javascript:alert(1).mp4"))
    tags = Tags(page)
    assert tags.tags.count("script") == 1
    assert not any(k.startswith("on") for k, _ in tags.attributes)
    assert {v for k, v in tags.attributes if k == "src"} == {"./javascript%3Aalert%281%29.mp4"}


def test_sound_alone_has_a_player_of_sound(rating):
    rating.media.video = None
    page = render_html(rating, source="./a.wav")
    assert '<audio controls preload="metadata" src="./a.wav">' in page
