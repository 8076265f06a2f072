"""The registry, the bad requests, and the numbers that can be computed by hand."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from data_recipes.distortions import (
    REGISTRY,
    Caption,
    Material,
    base,
    burn_in,
    captions_of,
    distort,
    draw_captions,
    get,
    kinds,
)
from data_recipes.distortions.audio_core import active_level, loudness
from data_recipes.distortions.captions import contrasting, luminance
from mllm_avqa.schema.errors import ConfigError

RATE = 48000
ROOT = Path(__file__).parents[2]


def tone(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.stack([level * np.sin(2 * np.pi * 997 * t)] * 2).astype(np.float32)


def grey(n: int = 12, value: int = 100) -> np.ndarray:
    return np.full((n, 96, 128, 3), value, np.uint8)


def clip() -> Material:
    return Material(grey(), 12.0, tone(), RATE, [Caption(0.0, 1.0, "Hello there")])


def test_registry_has_all_kinds_of_the_design() -> None:
    assert {m: len(kinds(m)) for m in ("video", "audio", "sync", "text")} == {
        "video": 33, "audio": 27, "sync": 4, "text": 5,
    }  # fmt: skip
    assert all(name == k.kind and len(k.levels) == 5 for name, k in REGISTRY.items())


def test_kinds_on_request_come_only_when_named() -> None:
    asked = {kind for kind, k in REGISTRY.items() if k.on_request}
    assert {"small_text", "lost_slices", "halo", "gaps"} <= asked
    assert {k.kind for k in kinds(named=REGISTRY)} - {k.kind for k in kinds()} == asked
    assert [k.kind for k in kinds("text", {"faint_text": 1.0})] == [*(k.kind for k in kinds("text")), "faint_text"]
    assert kinds("audio", {"faint_text", "halo"}) == kinds("audio")


def test_new_kinds_change_no_old_draw() -> None:
    """Plans draw kinds by their place: what recipes drew before stands in the order in which it stood."""
    first = {m: [k.kind for k in kinds(m)] for m in ("video", "audio", "sync", "text")}
    digest = hashlib.sha256(repr(first).encode()).hexdigest()[:16]
    assert digest == "78f7833e946e95f4", "a new kind needs on_request=True, or old recipes make other sets"


@pytest.mark.parametrize("kind", list(REGISTRY))
def test_every_kind_names_a_publication_or_standard(kind: str) -> None:
    assert re.search(r"\b(19|20)\d\d\b|ITU-[RT] \S+|EBU R ?\d+|IEC \d+|3GPP|RFC \d+|BBC", REGISTRY[kind].source)


@pytest.mark.parametrize("kind", list(REGISTRY))
def test_parameters_of_neighbouring_levels_differ(kind: str) -> None:
    k = REGISTRY[kind]
    assert len({tuple(k.parameters(level).items()) for level in range(1, 6)}) == 5


def test_unknown_kind_names_the_allowed_ones_and_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"'blurr' does not exist; allowed: .*gblur.*--kinds"):
        get("blurr")
    with pytest.raises(ConfigError, match=r"'smell'.*video, audio, sync, text"):
        kinds("smell")


@pytest.mark.parametrize("level", [0, 6, -1])
def test_level_outside_1_to_5(level: int) -> None:
    with pytest.raises(ConfigError, match=rf"level {level} .*allowed: 1, 2, 3, 4, 5"):
        distort(clip(), "gblur", level, 0)


@pytest.mark.parametrize("span", [(-0.1, 0.5), (0.5, 0.5), (0.8, 0.2), (0.5, 1.2)])
def test_span_outside_of_the_clip(span: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"span .* not inside the clip.*--span"):
        distort(clip(), "gblur", 1, 0, span)


def test_whole_clip_kinds_refuse_a_span() -> None:
    with pytest.raises(ConfigError, match="whole clip"):
        distort(clip(), "offset_late", 1, 0, (0.2, 0.8))


def test_negative_seed() -> None:
    with pytest.raises(ConfigError, match="seed -1 is negative"):
        distort(clip(), "gblur", 1, -1)


@pytest.mark.parametrize(
    ("kind", "material", "words"),
    [
        ("h264", Material(sound=tone()), "needs a clip with pictures"),
        ("white", Material(grey(), 12.0), "needs a clip with sound"),
        ("drift", Material(grey(), 12.0), "needs a clip with sound"),
        ("offset_early", Material(sound=tone()), "needs a clip with pictures"),
        ("illegible_text", Material(sound=tone(), captions=[Caption(0, 1, "x")]), "needs a clip with pictures"),
        ("caption_speed", Material(grey(), 12.0), "needs captions or a transcript"),
        ("caption_offset", clip(), "leaves no line"),
        ("bgnoise", clip(), "needs another clip with sound"),
        ("unrelated_sound", clip(), "needs another clip with sound"),
        ("imbalance", Material(sound=tone()[:1]), "needs stereo sound"),
        ("antiphase", Material(sound=tone()[:1]), "needs stereo sound"),
    ],
)
def test_unusable_material_says_what_is_missing(kind: str, material: Material, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        distort(material, kind, 5, 0)


def test_kinds_without_need_of_another_clip_or_stereo_take_mono() -> None:
    mono = Material(grey(), 12.0, tone()[:1], RATE)
    for k in kinds("audio") + kinds("sync"):
        if k.unusable(mono, 1) is None:
            assert distort(mono, k.kind, 1, 0)[0].sound.shape == mono.sound.shape


@pytest.mark.parametrize("kind", [k.kind for k in kinds("audio")])
def test_silence_stays_finite(kind: str) -> None:
    other = Material(sound=tone(), rate=RATE)
    out, _ = distort(Material(sound=np.zeros((2, RATE), np.float32), rate=RATE, other=other), kind, 5, 0)
    assert np.isfinite(out.sound).all()


@pytest.mark.parametrize(("level", "snr"), [(1, 35), (3, 18), (5, 2)])
def test_noise_has_the_snr_of_its_level(level: int, snr: float) -> None:
    """Analytic: 10 log10 of signal over noise power; the tone has no pauses, so the active level is its RMS."""
    source = Material(sound=tone(), rate=RATE)
    for kind in ("white", "pink", "brown", "hum"):
        wanted = get(kind).value(level)
        noise = distort(source, kind, level, 0)[0].sound - source.sound
        assert 20 * np.log10(active_level(source.sound, RATE) / noise.std()) == pytest.approx(wanted, abs=0.2)
    assert get("white").value(level) == snr


def test_loudness_kinds_reach_their_targets() -> None:
    """Analytic: BS.1770 loudness after the gain is the level's value; clipping may cost the loud ones a little."""
    source = Material(sound=tone(2.0), rate=RATE)
    for level in (1, 3, 5):
        quiet = distort(source, "quiet", level, 0)[0].sound
        assert loudness(quiet, RATE) == pytest.approx(get("quiet").value(level), abs=0.1)
    loud = distort(source, "loud", 2, 0)[0].sound
    assert loudness(loud, RATE) == pytest.approx(-10, abs=0.5)


@pytest.mark.parametrize(("kind", "level", "samples"), [("offset_early", 5, -19200), ("offset_late", 1, 3840)])
def test_offsets_move_samples(kind: str, level: int, samples: int) -> None:
    """Analytic: 400 ms early, 80 ms late at 48 kHz; zeros where there was nothing."""
    source = clip()
    moved = distort(source, kind, level, 0)[0].sound
    if samples < 0:
        assert np.array_equal(moved[:, :samples], source.sound[:, -samples:])
        assert not moved[:, samples:].any()
    else:
        assert np.array_equal(moved[:, samples:], source.sound[:, :-samples])
        assert not moved[:, :samples].any()


def test_drift_reaches_its_level_at_the_end_and_keeps_the_pitch() -> None:
    """Analytic: level 4 is 300 ms at the end of 4 s, so 225 ms at 3 s; the tone stays at 997 Hz."""
    sound = tone(4.0, 0.02)
    sound[:, 144000:145000] *= 20
    moved = distort(Material(grey(48), 12.0, sound, RATE), "drift", 4, 0)[0].sound
    power = np.square(moved[0, 96000:])
    at = 96000 + float((np.arange(len(power)) * (power > 0.02)).sum() / (power > 0.02).sum())
    assert abs(at - 144500) / RATE == pytest.approx(0.225, abs=0.02)
    peak = np.argmax(np.abs(np.fft.rfft(moved[0, :RATE] * np.hanning(RATE))))
    assert abs(peak - 997) <= 3


def test_exposure_is_in_linear_light() -> None:
    """Analytic: sRGB 100 is 0.1274 linear; +1.3 stops give 0.3137, which is sRGB 152."""
    assert distort(clip(), "overexp", 3, 0)[0].frames[0, 0, 0].tolist() == [152] * 3


def test_grey_stays_grey_without_saturation() -> None:
    for kind in ("desat", "oversat"):
        out = distort(clip(), kind, 5, 0)[0].frames
        assert np.abs(out.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("share", [1, 2, 3, 4, 5])
def test_freeze_holds_its_share_of_the_clip(share: int) -> None:
    numbered = np.repeat(np.arange(100, dtype=np.uint8), 16 * 16 * 3).reshape(100, 16, 16, 3)
    out = distort(Material(numbered, 25.0), "freeze", share, 2)[0].frames[:, 0, 0, 0]
    held = int((np.diff(out.astype(int)) == 0).sum())
    assert held == round(100 * get("freeze").value(share))


def test_framedrop_shows_the_frames_of_the_lower_rate() -> None:
    numbered = np.repeat(np.arange(50, dtype=np.uint8), 16 * 16 * 3).reshape(50, 16, 16, 3)
    out = distort(Material(numbered, 25.0), "framedrop", 3, 0)[0].frames[:, 0, 0, 0]
    assert len(set(out.tolist())) == 20  # 2 s at 10 frames per second
    assert (out <= np.arange(50)).all()


@pytest.mark.parametrize("ratio", [7.0, 4.5, 3.0, 2.0, 1.3])
@pytest.mark.parametrize("background", [0, 90, 160, 255])
def test_contrast_ratio_is_that_of_wcag(ratio: float, background: int) -> None:
    """Published formula (WCAG 2.1): (L1 + 0.05) / (L2 + 0.05); 8-bit colours allow it to a few per cent."""
    a = float(luminance(np.array([background] * 3)))
    b = float(luminance(np.array(contrasting(np.array([background] * 3), ratio))))
    got = (max(a, b) + 0.05) / (min(a, b) + 0.05)
    best = max(1.05 / (a + 0.05), (a + 0.05) / 0.05)
    assert got == pytest.approx(min(ratio, best), rel=0.06)


def test_burn_in_draws_only_while_a_line_is_shown() -> None:
    frames = grey()
    out = burn_in(frames, [Caption(0.25, 0.5, "Legible words")], 12.0, height=14)
    changed = [(a != b).any() for a, b in zip(frames, out, strict=True)]
    assert changed == [3 <= i < 6 for i in range(12)]
    assert out[3].max() > 240
    assert out[3].min() < 10
    assert (out[3, :48] == frames[3, :48]).all()  # the lower half only


def test_draw_captions_takes_them_off_the_list() -> None:
    drawn = draw_captions(clip())
    assert drawn.captions == []
    assert (drawn.frames != clip().frames).any()


def test_captions_of_a_text_are_readable_lines_in_order() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    lines = captions_of(text, 10.0)
    assert " ".join(c.text for c in lines) == text
    assert all(len(c.text) <= 42 and c.end > c.start for c in lines)
    assert lines[-1].end == pytest.approx(10.0)
    assert sum(len(c.text) for c in captions_of(text * 5, 4.0)) <= 60  # 15 characters a second


def test_caption_mismatch_replaces_the_share_of_words() -> None:
    line = "The quick, brown fox's tail; jumps over twenty lazy dogs"
    source = Material(grey(), 12.0, captions=[Caption(0, 1, line)])
    for level, wanted in ((1, 1), (3, 3), (4, 6), (5, 10)):
        out = distort(source, "caption_mismatch", level, 5)[0].captions[0].text
        words = [x.strip(",;") for x in out.split()]
        before = [x.strip(",;") for x in line.split()]
        assert sum(a != b for a, b in zip(words, before, strict=True)) == wanted
        assert out.count(",") == out.count(";") == 1
    assert out[0].isupper()


@pytest.mark.parametrize("kind", list(REGISTRY))
def test_documentation_has_the_levels_of_every_kind(kind: str) -> None:
    def words(level: int) -> str:
        return "/".join(v if isinstance(v, str) else f"{v:g}" for v in k.parameters(level).values())

    k = REGISTRY[kind]
    unit = k.unit or "/".join(max((k.parameters(level) for level in range(1, 6)), key=len))
    row = f"| `{kind}` | {' · '.join(words(level) for level in range(1, 6))} | {unit} | {k.source} |"
    assert row in (ROOT / "docs" / "DISTORTIONS.md").read_text(encoding="utf-8").splitlines()


def test_example_of_the_documentation_is_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "DISTORTIONS.md").read_text(encoding="utf-8")
    code = text[text.index('"""Faults of the lens."""') :].split("```")[0]
    monkeypatch.setattr(base, "REGISTRY", {})
    exec(code, {})
    example = base.REGISTRY["vignette"]
    dark = [example.apply(clip(), level, np.random.default_rng(0)).frames for level in (1, 5)]
    assert dark[1][0, 0, 0, 0] < dark[0][0, 0, 0, 0] < 100
    assert dark[1][0, 48, 64, 0] == pytest.approx(100, abs=1)
