"""The page in a real browser: upload, scores, seek, question, answer; two clips; a folder; by keyboard too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
expect = sync_api.expect
LONG = 120_000  # ms: a busy machine decodes slowly


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page with a key, which must do without any error in its console."""
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.goto(f"{address}/?lang=en")
    page.get_by_label("Key of this server").fill("first-key")
    yield page
    page.close()
    assert wrong == []


def test_upload_scores_seek_question_answer(page: Any, clip: Path):
    page.locator("#one-form input[type=file]").set_input_files(clip)
    page.get_by_role("button", name="Rate", exact=True).click()
    result = page.locator("#one-result")
    expect(result).to_be_visible(timeout=LONG)
    expect(result.locator(".score")).to_have_count(5)
    assert 1 <= float(result.locator(".score.video .num").inner_text()) <= 5
    assert re.search(r"90 % interval: \d\.\d\d–\d\.\d\d", result.locator(".score.video").inner_text())
    expect(result.locator(".claims li").first).to_be_visible()
    video = result.locator("video")
    frame = result.locator(".frames button").last
    frame.click()
    at = float(frame.get_attribute("data-at"))
    assert at > 0 and video.evaluate("v => v.currentTime") == pytest.approx(at, abs=0.05)
    result.locator(".mark").first.press("Enter")  # by keyboard, back to the beginning
    assert video.evaluate("v => v.currentTime") == pytest.approx(0, abs=0.05)
    page.get_by_label("Your question").fill("Rate the video quality.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text(re.compile("The video quality is \\w+\\."), timeout=LONG)
    names = page.locator("button, input, a").evaluate_all(
        "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.title || e.labels?.length))"
        ".map(e => e.outerHTML)"
    )
    assert names == []  # nothing that a screen reader could not name
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_two_clips_and_a_folder_by_keyboard(page: Any, clip: Path, tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    shutil.copy(clip, tmp_path / "a.mp4")
    page.get_by_role("tab", name="One clip").press("ArrowRight")
    expect(page.get_by_role("tab", name="Compare two")).to_be_focused()
    for name in ("first", "second"):
        page.locator(f"#two-form input[name={name}]").set_input_files(clip)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#two table tbody tr")).to_have_count(5, timeout=LONG)
    expect(page.locator("#two table")).to_contain_text("0 (equal within the intervals)")
    page.get_by_role("tab", name="Compare two").press("End")
    page.locator("#many-form input[name=files]").set_input_files([tmp_path / "broken.mp4", tmp_path / "a.mp4"])
    page.get_by_role("button", name="Rate them all").click()
    rows = page.locator("#many tbody tr")
    expect(page.locator("#many .status")).to_contain_text("1 of 2 rated, 1 failed", timeout=LONG)
    expect(rows.first).to_contain_text("It did not work")
    head = page.get_by_role("columnheader", name="Clip")
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("a.mp4")
