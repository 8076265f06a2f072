"""What counts as a caption: where a line stands, and whether it goes along with the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from data_recipes.distortions.base import Caption
from data_recipes.distortions.captions import burn_in
from mllm_avqa.context import gather
from mllm_avqa.context.ocr import TextBox, _tilt, merge_frames
from mllm_avqa.context.standing import told_apart
from mllm_avqa.schema.text import TextItem
from mllm_avqa.windows import _missing

HEIGHT, WIDTH = 360, 640
WORDS = "We leave at seven tomorrow"
BELOW, ABOVE, SIGN = (0.3, 0.87, 0.7, 0.94), (0.3, 0.06, 0.7, 0.13), (0.3, 0.4, 0.7, 0.5)


def scenery(count: int, pan: int = 12, sign: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [count, h, w, 3] of blurred noise that moves left by `pan` pixels a frame, and a sign that hangs in it."""
    rng = np.random.default_rng(1)
    small = rng.integers(30, 160, (HEIGHT // 20, (WIDTH + pan * count) // 20 + 1, 3), np.uint8)
    wide = Image.fromarray(small).resize((WIDTH + pan * count, HEIGHT), Image.Resampling.BICUBIC)
    if sign is not None:
        pen = ImageDraw.Draw(wide)
        x, y = sign
        pen.rectangle((x - 10, y - 6, x + 260, y + 36), fill=(20, 60, 30))
        pen.text((x, y), "BAKERY & COFFEE", font=ImageFont.load_default(28), fill=(240, 240, 220))
    return np.stack([np.asarray(wide)[:, n * pan : n * pan + WIDTH] for n in range(count)])


def line(box: tuple[float, float, float, float], tilt: float = 0.0, text: str = WORDS) -> TextBox:
    return TextBox(text, box, 0.95, tilt)


@pytest.mark.parametrize(
    ("lines", "scene"),
    [
        ([line(BELOW)], [False]),
        ([line((0.3, 0.8, 0.7, 0.87)), line((0.35, 0.88, 0.65, 0.95))], [False, False]),  # two rows
        ([line((0.2, 0.88, 0.45, 0.94)), line((0.47, 0.88, 0.8, 0.94))], [False, False]),  # one row, read as two
        ([line(SIGN)], [True]),
        ([line(BELOW, tilt=6.0)], [True]),
        ([line((0.05, 0.87, 0.35, 0.94))], [True]),  # a plate, a logo, the name of a speaker
        ([line((0.2, 0.7, 0.8, 0.95))], [True]),  # letters of a quarter of the picture
        ([line((0.3, 0.6 + 0.06 * n, 0.7, 0.65 + 0.06 * n)) for n in range(6)], [True] * 6),  # a page
        ([line(BELOW), line(SIGN)], [False, True]),
        ([line(ABOVE)], [True]),
        ([], []),
    ],
)
def test_by_place(lines: list[TextBox], scene: list[bool]) -> None:
    still = np.full((1, HEIGHT, WIDTH, 3), 90, np.uint8)
    assert [found.scene for found in told_apart(lines, still, 0)] == scene


def test_a_sign_that_passes_by_is_no_caption_wherever_it_hangs() -> None:
    frames, middle = scenery(8, sign=(200, 310)), line((0.31, 0.86, 0.69, 0.95))
    assert told_apart([middle], frames, 0)[0].scene
    assert not told_apart([middle], frames[:1].repeat(8, axis=0), 0)[0].scene  # nothing moves: only the place tells


def test_captions_above_stand_still_while_the_picture_moves() -> None:
    frames = scenery(8)
    for frame in frames:
        image = Image.fromarray(frame)
        ImageDraw.Draw(image).text((200, 24), WORDS, font=ImageFont.load_default(20), fill=(255, 255, 255))
        frame[:] = np.asarray(image)
    assert [found.scene for found in told_apart([line(ABOVE), line(SIGN)], frames, 3)] == [False, True]


@pytest.mark.parametrize(("pan", "style"), [(0, {}), (12, {}), (12, {"height": 4.5, "contrast": 4.5})])
def test_burnt_in_captions_are_captions(make_clip, clip_path, pan: int, style: dict[str, float]) -> None:
    frames = burn_in(scenery(8, pan, sign=(60, 80)), [Caption(0, 8, WORDS)], 1.0, **style)
    context = gather(clip_path, make_clip(frames), level="fast")
    found = {i.text: i.caption for i in context.items}
    assert any(caption for text, caption in found.items() if "seven" in text)
    assert not any(caption for text, caption in found.items() if "BAKERY" in text)


@pytest.mark.parametrize("pan", [0, 12])
def test_words_of_the_scene_are_context_and_get_no_score(make_clip, clip_path, pan: int) -> None:
    clip = make_clip(scenery(8, pan, sign=(200, 120)))
    context = gather(clip_path, clip, level="fast")
    assert [(i.text.split()[0], i.caption) for i in context.items] == [("BAKERY", False)]
    from mllm_avqa.evidence.captions import caption_measurements
    from mllm_avqa.model.views import make_views
    from mllm_avqa.schema.card import ViewSpec

    facts = caption_measurements(clip, context)
    assert [m.value for m in facts if m.name in ("text_height", "text_contrast")] == [None, None]
    missing = _missing(clip, make_views(clip, ViewSpec()), context, "fast")
    assert missing["text"] == "no captions found, only words on things in the scene (--context fast)"


def test_tilt() -> None:
    """Analytic: a box of 100 by 10 pixels, turned; one pixel of rounding is no tilt."""
    for degrees in (0.0, 10.0, 30.0):
        a = np.deg2rad(degrees)
        along, across = 100 * np.array([np.cos(a), np.sin(a)]), 10 * np.array([-np.sin(a), np.cos(a)])
        assert _tilt(np.array([0 * along, along, along + across, across])) == pytest.approx(degrees, abs=0.7)
    assert _tilt(np.array([[0, 0], [40, 1], [40, 11], [0, 10]], float)) == 0


def test_one_reading_as_a_caption_is_enough() -> None:
    shown, hung = line(BELOW), TextBox(WORDS, SIGN, 0.9, 0.0, scene=True)
    assert [i.caption for i in merge_frames([(0.0, [hung]), (1.0, [shown])], "e")] == [True]
    assert [i.caption for i in merge_frames([(0.0, [hung]), (1.0, [hung])], "e")] == [False]
    assert TextItem(origin="subtitle", text="x").caption
    assert not TextItem(origin="asr", text="x").caption
