"""What a score rests on: a rater that is kept from facts, pixels, sound or texts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mllm_avqa.cli import app
from mllm_avqa.rater import Rater
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import WITHHELD

CLIP = Path(__file__).parents[1] / "examples/elf.mp4"


@pytest.fixture(scope="module")
def ratings():
    """One clip, rated whole and without each part."""
    found = {}
    for without in ((), *((part,) for part in WITHHELD)):
        rater = Rater.from_pretrained("nano", threads=1, without=without)
        found[without] = rater.rate(CLIP, explain=False, user_text="A clip of a street.")
        rater.close()
    return found


def test_every_part_that_is_kept_back_is_said_and_changes_the_fingerprint(ratings):
    prints = [json.dumps(r.fingerprint, sort_keys=True) for r in ratings.values()]
    assert len(set(prints)) == len(prints)
    assert "without" not in ratings[()].inputs
    for without, rating in ratings.items():
        assert rating.inputs.get("without", []) == list(without)
        assert rating.evidence  # measured all the same
    scores = {w: r.scores["video"].score for w, r in ratings.items() if r.scores["video"] is not None}
    assert scores[("facts",)] != scores[()]
    assert scores[("sound",)] == pytest.approx(scores[()], abs=1e-3)  # the picture's score never heard it


def test_an_unknown_part_is_refused_on_both_ways():
    with pytest.raises(ConfigError, match="taste"):
        Rater.from_pretrained("nano", without=["taste"])
    result = CliRunner().invoke(app, ["rate", str(CLIP), "--without", "taste"])
    assert result.exit_code == 2
