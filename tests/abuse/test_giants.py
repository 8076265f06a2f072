"""The inputs of `giants.py`, a thousandth of their size, and what bounds them."""

import sys
from pathlib import Path

import pytest

from mllm_avqa.context import gather
from mllm_avqa.media import DecodeSpec, Limits, MediaReader
from mllm_avqa.schema.errors import MediaTooLarge

sys.path.insert(0, str(Path(__file__).parent))
from giants import GIANTS


def test_a_gif_of_very_many_frames(tmp_path: Path) -> None:
    path = GIANTS["gif"](tmp_path, 0.001)
    with MediaReader() as reader:
        assert reader.probe(path).duration == pytest.approx(20.0)
        assert len(reader.read_clip(path, DecodeSpec(duration=1.0)).video.thumbs) == 50
        with pytest.raises(MediaTooLarge, match="more than 999 frames"):
            reader.request("probe", path, limits=Limits(max_frames=999))


def test_very_many_sidecars(tmp_path: Path) -> None:
    path = GIANTS["sidecars"](tmp_path, 0.001)
    with MediaReader() as reader:
        text = gather(path, reader.read_clip(path), level="fast", limits=Limits(max_sidecars=7))
    assert len({i.detail for i in text.items}) <= 7
    (told,) = [s.detail for s in text.sources if s.origin == "sidecar"]
    assert told.startswith("93 of 100 subtitle files beyond the limits are not read (7 files,")
