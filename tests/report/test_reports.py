"""Reports: complete, in two languages, and safe against text of strangers."""

from __future__ import annotations

import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent / "batch"))
from fake_rater import distribution, rating_of

from mllm_avqa.batch.rows import rating_row
from mllm_avqa.report.frames import thumbnails
from mllm_avqa.report.html import Thumbnail, render_html, write_html
from mllm_avqa.report.labels import amount, clock, size, visible
from mllm_avqa.report.terminal import render
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.clip import Clip, DecodeSpec, VideoTrack
from mllm_avqa.schema.errors import MediaTimeout, OutputError
from mllm_avqa.schema.measurement import Measurement
from mllm_avqa.schema.names import LANGUAGES
from mllm_avqa.schema.rating import Claim, Finding, Rating, Remedy, Window
from mllm_avqa.schema.text import SCENE, SourceStatus, TextContext, TextItem
from mllm_avqa.schema.words import load_prompts, translated

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \x1b[31m \u202egnp.exe {{ 7*7 }} [bold]x[/bold]"


class Tags(HTMLParser):
    """Every tag and attribute of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def hostile() -> Rating:
    """Every string a stranger can influence is hostile."""
    base = rating_of(f"clips/{HOSTILE}.mp4", warnings=[HOSTILE], explanation=HOSTILE, content_hash=HOSTILE)
    base.claims = [Claim(text=HOSTILE, support=s, because=HOSTILE) for s in ("supported", "contradicted", "unverified")]
    base.missing = {"text": HOSTILE}
    base.evidence = [
        Measurement(name=HOSTILE, modality="text", value=1.0, unit=HOSTILE, severity="severe", note=HOSTILE)
    ]
    base.context = TextContext(
        items=[
            TextItem(origin=o, text=HOSTILE, start=1.0, end=2.0, detail=HOSTILE) for o in ("metadata", "ocr", "user")
        ],
        sources=[SourceStatus(origin=o, status="ok", detail=HOSTILE) for o in ("metadata", "ocr", "user")],
    )
    base.media = base.media.model_copy(update={"container": HOSTILE, "metadata": {HOSTILE: HOSTILE}})
    base.inputs = {HOSTILE: HOSTILE, "windows": [{HOSTILE: HOSTILE}]}
    base.fingerprint = {HOSTILE: HOSTILE}
    return base


def terminal(rating: Rating, limits: str = "") -> str:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system="standard").print(render(rating, limits))
    return out.getvalue()


def test_hostile_text_is_escaped_in_html() -> None:
    harmless, page = render_html(rating_of("a.mp4")), render_html(hostile(), limits=HOSTILE)
    found = Tags(page)
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert not [a for a, _ in found.attributes if a.startswith("on")]
    assert {a for a, _ in found.attributes} <= {a for a, _ in Tags(harmless).attributes}
    assert "&lt;script&gt;alert(1)" in page  # shown, not hidden
    assert "{{ 7*7 }}" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_html_asks_nothing_of_the_network() -> None:
    page = render_html(rating_of("a.mp4"))
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(", page)
    assert not {"script", "link", "iframe", "object", "form"} & set(Tags(page).tags)


def test_hostile_text_cannot_steer_the_terminal() -> None:
    text = terminal(hostile(), HOSTILE)
    assert "\u202e" not in text
    assert "�[31m" in text  # the escape character itself is replaced
    assert "[bold]x[/bold]" in text  # not taken as markup


@pytest.mark.parametrize("language", ["en", "zh"])
def test_reports_say_everything(language: str) -> None:
    scores = {a: distribution(k) for a, k in (("overall", 2), ("video", 1), ("audio", 5))}
    windows = [Window(start=8 * i, end=8 * i + 8, scores=scores) for i in range(3)]
    rating = rating_of("片段.mp4", 2, language=language, windows=windows)
    rating.claims = [Claim(text="The picture is sharp.", support="contradicted", because="blur 3.2 px")]
    rating.context = TextContext(sources=[SourceStatus(origin="asr", status="unavailable", detail="no weights")])
    rating, words = rating.told(), load_prompts("words", language)
    for report in (render_html(rating, limits="synthetic faults only"), terminal(rating, "synthetic faults only")):
        for part in (
            "片段.mp4",
            "2.50",  # analytic: .6 * 2 + .1 * (5 + 4 + 3 + 1)
            words["levels"]["poor"],
            translated("no captions and no on-screen text found", language),
            words["supports"]["contradicted"],
            "blur 3.2 px",
            words["severities"]["strong"],
            words["origins"]["asr"],
            "no weights",
            words["report"]["timeline"],
            "synthetic faults only",
            "second, ",
        ):
            assert part in report


def test_a_report_says_in_its_language_where_words_were_read() -> None:
    rating = rating_of("a.mp4", language="zh")
    sign = TextItem(origin="ocr", text="OPEN", detail=f"engine=rapidocr; {SCENE}")
    rating.context = TextContext(items=[sign], sources=[SourceStatus(origin="ocr", status="ok")])
    page = render_html(rating.told())
    assert "engine=rapidocr；场景中物体上的文字" in page
    assert SCENE not in page


def test_what_would_help_most_is_told_with_its_worth() -> None:
    fix = Remedy(text="sharpen <it>", side="video", kinds=["blur"], gain=0.3, side_gain=0.5, rests_on="facts")
    other = Finding(side="audio", kind="hum", name="hum", severity="slight", remedy="notch it")
    rating = rating_of("a.mp4", remedies=[fix], findings=[other])
    page = render_html(rating)
    first, second = re.findall(r"<li><bdi>(.*?)</bdi> <span class=\"note\">(.*?)</span></li>", page)
    assert (first, second) == (("sharpen &lt;it&gt;", "Video +0.50, Overall +0.30"), ("notch it", ""))
    console = Console(file=io.StringIO(), width=100)
    console.print(render(rating))
    assert "sharpen <it>  Video +0.50, Overall +0.30" in console.file.getvalue()  # type: ignore[attr-defined]
    assert rating_row(rating, path="a.mp4", file=Path("a.mp4")).remedies == "sharpen <it> (+0.30)"


def test_words_are_complete() -> None:
    en, zh = (load_prompts("words", x) for x in LANGUAGES)
    for table in ("aspects", "levels", "severities", "supports", "statuses", "origins", "inputs", "reasons", "report"):
        assert en[table].keys() == zh[table].keys()


def test_spans_lie_on_the_time_axis() -> None:
    page = render_html(rating_of("a.mp4"))  # blur at 1.0-2.5 s of 8 s
    assert "left: 12.5%; width: 18.75%" in page


def test_still_image_without_duration_has_a_report() -> None:
    rating = rating_of("a.png", windows=[], evidence=[])
    rating.media = rating.media.model_copy(update={"duration": 0.0, "audio": None})
    assert load_prompts("words", "en")["report"]["clean"] in render_html(rating)
    assert load_prompts("words", "en")["report"]["clean"] in terminal(rating)


def test_thumbnails_are_data_uris_of_frames_at_their_times() -> None:
    class Reader:
        def read_clip(self, path: str, spec: DecodeSpec) -> Clip:
            assert not spec.audio
            frames = np.zeros((8, 90, 160, 3), np.uint8)
            track = VideoTrack(frames, spec.start + np.arange(8.0), np.zeros((0, 1, 1), np.uint8), np.zeros(0))
            return Clip(rating.media, spec.start, spec.start + 8, track, None)

    rating = rating_of("a.mp4")
    found = thumbnails(rating, Reader(), ViewSpec())
    assert [t.time for t in found] == [0, 2, 4, 6]  # the first of the two frames of each of four segments
    assert Image.open(io.BytesIO(found[0].image)).size == (160, 90)
    page = render_html(rating, thumbnails=found)
    assert page.count('src="data:image/jpeg;base64,') == 4
    with pytest.raises(OutputError, match="PNG or JPEG"):
        render_html(rating, thumbnails=[Thumbnail(0, b"<svg onload=alert(1)>")])


def test_a_file_that_went_away_gives_no_thumbnails() -> None:
    class Reader:
        def read_clip(self, path: str, spec: DecodeSpec) -> Clip:
            raise MediaTimeout("too slow")

    assert thumbnails(rating_of("a.mp4"), Reader(), ViewSpec()) == []


def test_write_html_names_the_flag(tmp_path: Path) -> None:
    write_html(rating_of("a.mp4"), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(OutputError, match="--html"):
        write_html(rating_of("a.mp4"), tmp_path / "a.html" / "b.html")


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_html(rating_of("a.mp4"), tmp_path / "a.html")
    before = (tmp_path / "a.html").read_text(encoding="utf-8")

    def fill(part: Path, text: str, encoding: str) -> None:
        part.write_bytes(text[:100].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OutputError, match="No space left"):
        write_html(rating_of("b.mp4"), tmp_path / "a.html")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == before


def test_values_for_people() -> None:
    assert [clock(s) for s in (0, 59.96, 61.25, 3725, None)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:05", "?"]
    assert [amount(*a) for a in ((None, "dB"), (0.5, "ratio"), (-38.1, "LUFS"), (1e6, "Hz"))] == [
        "–",
        "0.5",
        "-38.1 LUFS",
        "1,000,000 Hz",
    ]
    assert [size(n) for n in (999, 1500, 2_000_000, 3_000_000_000_000)] == ["999 B", "1.5 kB", "2.0 MB", "3000.0 GB"]
    assert visible("a\tb\nمرحبا 👩\u200d🔬\x07\ud800") == "a\tb\nمرحبا 👩\u200d🔬\ufffd\ufffd"
