import sys

import numpy as np
import pytest

from mllm_avqa.context.collect import gather, segment_frames
from mllm_avqa.context.gate import THRESHOLD, text_score
from mllm_avqa.context.ocr import RapidOcr, TextBox, default_ocr, merge_frames
from mllm_avqa.evidence.captions import caption_measurements
from mllm_avqa.schema.errors import ContextUnavailable
from mllm_avqa.schema.text import SCENE


def test_reads_rendered_text_where_it_stands(draw) -> None:
    frame = draw({(60, 280): "Weather tomorrow"}, size=36)
    (line,) = default_ocr().read(frame)
    assert line.text == "Weather tomorrow" and line.confidence > 0.9
    x0, y0, x1, y1 = line.box
    assert 0 <= x0 < 60 / 640 + 0.02 and 0.5 < x1 <= 0.65 and 280 / 360 - 0.03 < y0 < y1 < 330 / 360


def test_odd_frames_have_no_text() -> None:
    for shape in [(1, 1), (2, 300), (64, 64)]:
        assert default_ocr().read(np.zeros((*shape, 3), np.uint8)) == []


def test_missing_package_is_a_status_with_the_command(monkeypatch, make_clip, draw, status, clip_path) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # import raises ImportError
    with pytest.raises(ContextUnavailable, match="pip install rapidocr onnxruntime"):
        RapidOcr().read(draw())
    context = gather(clip_path, make_clip(draw()[None]), level="full", ocr=RapidOcr())
    state, detail = status(context, "ocr")
    assert state == "unavailable" and "pip install rapidocr" in detail


@pytest.mark.parametrize("size", [16, 24, 40])
@pytest.mark.parametrize("colour", [(255, 255, 255), (10, 10, 10), (255, 230, 0)])
def test_gate_sees_captions(draw, size: int, colour: tuple[int, int, int]) -> None:
    assert text_score(draw({(60, 300): "Hello there, my friend"}, size, colour=colour)) > THRESHOLD


def test_gate_sees_no_text_where_none_is(draw) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    stripes = np.repeat(np.tile(np.array([40, 200], np.uint8), 40), 8)[None, :, None] * np.ones((360, 1, 3), np.uint8)
    for textless in (draw(), np.zeros((360, 640, 3), np.uint8), noise, stripes, np.zeros((1, 1, 3), np.uint8)):
        assert text_score(textless) < THRESHOLD


class Script:
    """An engine that says what it is told and counts how often it is asked."""

    name = "script"

    def __init__(self, *answers: list[TextBox]) -> None:
        self.answers, self.calls = list(answers), 0

    def read(self, frame: np.ndarray) -> list[TextBox]:
        self.calls += 1
        return self.answers[self.calls - 1]


def test_fast_reads_one_frame_at_most_and_only_past_the_gate(draw, make_clip, status, clip_path) -> None:
    engine = Script([])
    context = gather(clip_path, make_clip(np.stack([draw()] * 4)), ocr=engine)
    assert engine.calls == 0
    assert status(context, "ocr") == ("skipped", "no frame looks like it carries text (4 looked at)")

    frames = np.stack([draw(), draw(), draw({(60, 300): "Hello there, my friend"}), draw()])
    engine = Script([TextBox("Hello there, my friend", (0.1, 0.8, 0.6, 0.9), 0.99)])
    context = gather(clip_path, make_clip(frames), ocr=engine)
    assert engine.calls == 1 and status(context, "ocr") == ("ok", "1 frame(s) read")
    (item,) = context.items
    assert (item.text, item.start, item.end) == ("Hello there, my friend", 4.0, 4.0)  # the third frame's pts


def test_full_reads_one_frame_per_segment_and_merges(draw, make_clip, status, clip_path) -> None:
    a, b = (0.25, 0.8, 0.75, 0.9), (0.1, 0.1, 0.3, 0.2)
    engine = Script(
        [TextBox("Breaking news", a, 0.8)],
        [TextBox("Breaking newz", a, 0.7), TextBox("12:30", b, 0.9)],
        [TextBox("BREAKING NEWS", a, 0.95), TextBox("12:31", b, 0.9)],
    )
    frames = np.stack([draw()] * 6)
    clip = make_clip(frames, pts=[1.0, 1.04, 3.0, 3.04, 5.0, 5.04])
    context = gather(clip_path, clip, level="full", ocr=engine)
    assert engine.calls == 3 and status(context, "ocr")[0] == "ok"
    spans = {i.text: (i.start, i.end) for i in context.items}
    assert spans["BREAKING NEWS"] == (1.0, 5.0)  # the most confident reading, the whole time it stood
    assert "Breaking newz" not in spans
    assert set(spans) in ({"BREAKING NEWS", "12:30"}, {"BREAKING NEWS", "12:30", "12:31"})
    assert {(i.text[:2], i.detail, i.caption) for i in context.items} == {
        ("BR", "engine=script", True),
        ("12", f"engine=script; {SCENE}", False),
    }


def test_short_texts_are_not_confused() -> None:
    box = (0.0, 0.0, 0.1, 0.1)
    items = merge_frames([(0.0, [TextBox("EXIT", box, 0.9)]), (1.0, [TextBox("TAXI", box, 0.9)])], "script")
    assert [i.text for i in items] == ["EXIT", "TAXI"]


def test_segment_frames() -> None:
    grid = np.arange(0, 8, 0.04)
    assert segment_frames(np.array([1.0, 1.04, 3.0, 3.04]), grid) == [0, 2]
    assert segment_frames(np.array([0.0, 0.04, 0.08]), grid) == [0]
    assert segment_frames(np.array([]), grid) == []
    assert segment_frames(np.array([0.0, 2.0]), np.array([0.0])) == [0, 1]


def test_height_and_contrast_of_read_text(draw, make_clip, clip_path) -> None:
    frame = draw({(265, 300): "Small print here"}, size=14, background=(119, 119, 119))
    clip = make_clip(frame[None], pts=[0.5])
    context = gather(clip_path, clip, level="full")
    assert [i.text for i in context.items] == ["Small print here"]
    found = {m.name: m for m in caption_measurements(clip, context)}
    # analytic: 14 of 360 px = 3.9 %, the box is a few pixels off; white on #777777 has a WCAG ratio of 4.48
    assert found["text_height"].value == pytest.approx(3.9, abs=1.2)
    assert found["text_height"].severity in ("faint", "slight")
    assert found["text_contrast"].value == pytest.approx(4.48, abs=0.9)
    assert found["text_contrast"].spans == [(0.5, 0.5)]
