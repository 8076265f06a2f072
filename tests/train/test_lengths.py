"""Batcher of similar length: less padding, every clip once an epoch, the same order for all ranks and after a stop."""

import itertools
import json
import os
import random
import signal

import pytest
import yaml
from sample_views import make_views
from test_long_runs import TEMPLATE, before

from mllm_avqa.model.scoring import encode_prefix
from mllm_avqa.model.views import Views
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError
from train import run as stages
from train.cache import CachedWindow
from train.config import Config, load_config
from train.lengths import ByLength, prefix_length
from train.stopping import Interrupted
from train.trainer import RatingTrainer


def padding(lengths, order, batch):
    """Share of places that hold nothing."""
    batches = [[lengths[k] for k in order[at : at + batch]] for at in range(0, len(order), batch)]
    places = sum(max(b) * len(b) for b in batches)
    return 1 - sum(lengths) / places


def test_batches_are_of_similar_length_and_in_no_order_of_length():
    rng = random.Random(0)
    lengths = [rng.randint(100, 1000) for _ in range(1003)]
    order = list(ByLength(lengths, 8, seed=1))
    assert sorted(order) == list(range(1003))
    assert padding(lengths, order, 8) < 0.03 < 0.3 < padding(lengths, list(range(1003)), 8)
    longest = [max(lengths[k] for k in order[at : at + 8]) for at in range(0, 1000, 8)]
    rises = sum(a < b for a, b in itertools.pairwise(longest))
    assert 0.35 < rises / len(longest) < 0.65


def test_the_order_follows_from_seed_and_epoch():
    lengths = list(range(40))
    sampler, again = ByLength(lengths, 4, seed=1), ByLength(lengths, 4, seed=1)
    first = list(sampler)
    assert first == list(sampler) == list(again)
    sampler.set_epoch(1)
    assert list(sampler) != first
    again.set_epoch(1)
    assert list(sampler) == list(again) != list(ByLength(lengths, 4, seed=2))


def test_the_length_is_that_of_the_encoded_prefix(tiny, tiny_dir, facts, context):
    """Up to control tokens and line ends around the segments."""
    card = Card.load(tiny_dir)
    for v in (make_views(), Views(None, None, make_views().sound), Views(None, None, None)):
        segments, _ = encode_prefix(tiny, v, facts, context, card.languages[0])
        real = sum(len(s.ids) for s in segments)
        assert real - 40 < prefix_length(CachedWindow(v, facts, context, {}), tiny, card) <= real
    assert prefix_length(None, tiny, card) == 0


def test_a_stopped_run_goes_on_in_the_same_order(mixed_data, tmp_path, monkeypatch):
    stage = {"name": "only", "steps": 6, "batch": 2, "lr": 1e-3, "mixture": {"stage1": 1}, "save_every": 2}

    def config(name):
        given = {**TEMPLATE, "records": mixed_data, "output": tmp_path / name, "stages": [stage | {"by_length": True}]}
        return Config.model_validate(given)

    seen = []
    compute = RatingTrainer.compute_loss

    def look(self, model, inputs, *args, **kwargs):
        seen.append((self.state.global_step, tuple(inputs["about"]["ids"])))
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(RatingTrainer, "compute_loss", look)
    stages.run(config("unbroken"))
    unbroken, seen[:] = seen[:], []
    with monkeypatch.context() as m:
        before(m, 4, lambda trainer, inputs: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            stages.run(config("stopped"))
    stages.run(config("stopped"))
    assert seen == unbroken
    alike = [len({i.rsplit("-", 1)[0] for i in ids}) == 1 for _, ids in unbroken]  # both streams, picture, or sound
    assert sum(alike) >= 3

    def losses(name):
        state = tmp_path / name / "only" / "checkpoint-6" / "trainer_state.json"
        return {h["step"]: h["loss"] for h in json.loads(state.read_text())["log_history"] if "loss" in h}

    assert losses("stopped") == pytest.approx(losses("unbroken"), abs=1e-6)


def test_practice_rows_have_no_length_of_their_own(tmp_path):
    data = {"name": "x", "records": "r", "output": "o", "teacher": True}
    data["stages"] = [{"name": "s", "steps": 1, "practice": {}, "by_length": True}]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match="take one"):
        load_config(tmp_path / "c.yaml")
