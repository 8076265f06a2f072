"""The preview page: what is on it, what is left out and why, and that its pictures show the fault."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from data_recipes.__main__ import app
from data_recipes.distortions import REGISTRY, Caption, Material, distort
from data_recipes.preview import Preview, chosen, preview, write_page
from data_recipes.preview.views import FLOOR_DB, MARGIN, PLOT, VIEWS, WIDTH, busiest, curve, spectrogram, telling_frame
from data_recipes.synthesis.mux import write_clip
from mllm_avqa.schema.errors import ConfigError, MediaNotFound, NotMedia, OutputError

RATE = 16000


def moving(n: int = 10) -> np.ndarray:
    """A field of squares that moves by two pixels a frame: [n, 96, 128, 3]."""
    field = np.random.default_rng(0).integers(0, 255, (12, 24, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([field[:, 2 * i : 2 * i + 128] for i in range(n)])


def beep(channels: int = 2) -> np.ndarray:
    t = np.arange(RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * 1000 * t) * (t > 0.5)] * channels).astype(np.float32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """both.mp4, silent.mp4, unseen.mp4 and broken.mp4 in one folder."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "both.mp4", Material(moving(), 10.0, beep(), RATE))
    write_clip(folder / "silent.mp4", Material(moving(), 10.0))
    write_clip(folder / "unseen.mp4", Material(sound=beep(1), rate=RATE))
    (folder / "broken.mp4").write_bytes(b"no film at all" * 50)
    return folder


def test_all_kinds_are_chosen_family_by_family() -> None:
    assert [k.kind for k in chosen([])] == sorted(
        REGISTRY, key=lambda n: ("video", "audio", "sync", "text").index(REGISTRY[n].modality)
    )
    assert {k.modality for k in chosen(["white", "sync"])} == {"audio", "sync"}
    with pytest.raises(ConfigError, match=r"'smell' does not exist; allowed: .*--kinds"):
        chosen(["smell"])


def test_page_has_six_pictures_per_kind_and_needs_no_network(clips: Path, tmp_path: Path) -> None:
    names = ["gblur", "framedrop", "white", "offset_late", "unrelated_sound", "caption_speed", "faint_text"]
    steps: list[tuple[int, int]] = []
    shown = preview(clips / "both.mp4", names, seconds=1.0, progress=lambda n, of: steps.append((n, of)))
    assert not shown.left_out
    assert [r.kind.kind for rows in shown.rows.values() for r in rows] == names
    assert steps == [(n, 7) for n in range(8)]
    page = write_page(shown, tmp_path / "new" / "folder").read_text(encoding="utf-8")
    images = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(images) == 6 * len(names)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page
    for data in images:
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).shape[1] == WIDTH
    assert all(rows[0][1] != rows[5][1] for rows in (r.cells for family in shown.rows.values() for r in family))
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["preview.html"]


@pytest.mark.parametrize(
    ("source", "families"),
    [("silent.mp4", {"audio", "sync"}), ("unseen.mp4", {"video", "text", "sync"})],
)
def test_family_without_its_stream_is_left_out_with_the_reason(clips: Path, source: str, families: set[str]) -> None:
    shown = preview(clips / source, ["gblur", "white", "imbalance", "drift", "caption_speed"], seconds=1.0)
    assert families <= shown.left_out.keys()
    assert all("the source has no" in shown.left_out[f] for f in families)
    assert not families & shown.rows.keys()
    if source == "unseen.mp4":
        assert "needs stereo sound" in shown.left_out["imbalance"]


def test_kinds_that_take_no_region_are_left_out_when_one_is_asked_for(clips: Path) -> None:
    shown = preview(clips / "both.mp4", ["gblur", "freeze", "quiet"], seconds=1.0, region=(0.0, 0.0, 0.5, 0.5))
    assert [r.kind.kind for r in shown.rows["video"]] == ["gblur"]
    assert list(shown.reasons.values()) == [["freeze", "quiet"]]
    assert "can not be limited to a region" in shown.left_out["freeze"]
    assert shown.facts.endswith("faults in 0, 0, 0.5, 0.5 of the picture (x, y, w, h) only")


def test_nothing_to_show_is_an_error(clips: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to show: the source has no sound"):
        preview(clips / "silent.mp4", ["white"], seconds=1.0)
    with pytest.raises(ConfigError, match=r"0 s .*--seconds"):
        preview(clips / "both.mp4", seconds=0)
    with pytest.raises(MediaNotFound):
        preview(clips / "nowhere.mp4")
    with pytest.raises(NotMedia):
        preview(clips / "broken.mp4")


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="-o"):
        write_page(Preview("a", "b"), tmp_path / "file")


def test_name_of_a_source_is_text_on_the_page(tmp_path: Path) -> None:
    page = write_page(Preview("<b>&.mp4", "1 s"), tmp_path).read_text(encoding="utf-8")
    assert "<b>&.mp4" not in page
    assert "&lt;b&gt;&amp;.mp4" in page


def test_command(clips: Path, tmp_path: Path) -> None:
    run = CliRunner()
    arguments = ["preview", str(clips / "both.mp4"), "-o", str(tmp_path), "--seconds", "1", "--kinds", "desat,quiet"]
    done = run.invoke(app, [*arguments, "--span", "0.2,0.8"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "page": str(tmp_path / "preview.html"),
        "kinds": {"video": 1, "audio": 1},
        "left_out": {},
    }
    for wrong, words in (
        (["--region", "1,2"], "4 numbers"),
        (["--kinds", "blurr"], "'blurr'"),
        (["--span", "x"], "2 num"),
    ):
        refused = run.invoke(app, [*arguments, *wrong])
        assert refused.exit_code == 2
        assert words in refused.stderr
        assert refused.stdout == ""
    assert run.invoke(app, ["preview", str(clips / "broken.mp4"), "-o", str(tmp_path)]).exit_code == 2


def test_frame_that_tells_is_the_middle_one_unless_it_is_untouched() -> None:
    clean = moving(7)
    worst = clean.copy()
    worst[5] = 0
    assert telling_frame(clean, worst) == 5
    worst[3] += 1
    assert telling_frame(clean, worst) == 3


def test_busiest_rectangle() -> None:
    energy = np.zeros((20, 30))
    energy[11:14, 21:25] = 1
    assert busiest(energy, 3, 4) == (slice(11, 14), slice(21, 25))
    assert busiest(energy, 99, 4)[0] == slice(0, 20)


def test_spectrogram_shows_a_tone_at_its_frequency_and_time() -> None:
    """Analytic: 1 kHz from 0.5 s on; on a log axis 50 Hz..20 kHz that is half of the height."""
    lane = spectrogram(beep(), RATE, 100).astype(int).sum(2)[:, MARGIN:]
    assert FLOOR_DB == -100
    assert (lane[:, : PLOT // 2 - 12] == lane[0, 0]).all()  # silence is the darkest colour
    row = int(np.argmax(lane[:, PLOT * 3 // 4]))
    assert row == pytest.approx(100 * (1 - np.log(1000 / 50) / np.log(20000 / 50)), abs=2)


def test_curve_of_a_few_samples_has_no_gaps() -> None:
    lane = curve(np.array([1.0, -1.0, 1.0, -1.0], np.float32), 1.0, 30, "")
    assert ((lane[:, MARGIN:] == (25, 95, 190)).all(2)).any(0).all()


@pytest.mark.parametrize(
    ("kind", "material"),
    [
        ("freeze", Material(moving(), 10.0)),
        ("antiphase", Material(sound=beep(), rate=RATE)),
        ("offset_late", Material(moving(), 10.0, beep(), RATE)),
        ("missing_caption", Material(moving(), 10.0, captions=[Caption(0.0, 1.0, "One line")])),
    ],
)
def test_views_are_alike_for_the_clean_clip_and_show_the_worst(kind: str, material: Material) -> None:
    worst, fault = distort(material, kind, 5, 0)
    draw = VIEWS[fault.modality](material, worst)
    assert np.array_equal(draw(material), draw(material))
    assert draw(worst).shape == draw(material).shape
    assert not np.array_equal(draw(worst), draw(material))
