"""Three stages of a pipeline give the rows of one rater, whatever holds the model between them."""

import asyncio
import pickle
import sys
import types
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "eval"))
from small_clips import write

from mllm_avqa.model.prompting import Media, Segment
from mllm_avqa.model.served import VIEWS, runs
from mllm_avqa.model.views import Views
from mllm_avqa.rater import Rater
from mllm_avqa.scale import RowSettings, VllmEngines, rate_rows
from mllm_avqa.scale.engine import _clipwise, _Finisher, _Reader
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import ConfigError


@pytest.fixture(scope="module")
def plain_dir(tiny_dir, tmp_path_factory):
    """The tiny checkpoint as if all of its questions saw all of the prompt: what engines do."""
    folder = tmp_path_factory.mktemp("plain")
    for file in tiny_dir.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "avqa.yaml").unlink()
    Card.load(tiny_dir).model_copy(update={"isolate": False}).save(folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write(folder / "a.mp4")
    (folder / "b.mp4").write_bytes(b"no media")
    rows = [
        {"path": str(folder / name), "id": f"c{k}", "shelf": k} for k, name in enumerate(("a.mp4", "b.mp4", "c.mp4"))
    ]
    return pa.Table.from_pylist(rows)


def answering(directory, spoil=lambda told: told):
    """One question a row, as the stage of `ray.data.llm` takes it; answered by the model itself."""
    rater = Rater.from_pretrained(str(directory), threads=1, dtype="float32")

    class Stage:
        IDX_IN_BATCH_COLUMN = "at"

        async def _generate_with_error_handling(self, row, batch):
            shown, how = row["multimodal_data"], row["mm_processor_kwargs"]
            whole, fragments = shown.get("video", (None, None))
            sound = shown["audio"][0][0] if "audio" in shown else None
            backbone = rater.backbone
            media = backbone.media_tensors(Views(whole, fragments, sound, 2.0 / how["fps"]))
            places = {}
            for kind, pad in backbone.pads.items():
                views = Segment(kind, tuple(Media(v) for v in VIEWS[kind]))
                places[pad] = iter(
                    [n for _, n in runs(backbone.encode_segment(views, media).ids, pad)] if kind in shown else []
                )
            ids = [i for t in row["tokenized_prompt"] for i in ([t] * next(places[t]) if t in places else [t])]
            wanted = row["sampling_params"]["logprob_token_ids"]
            found = rater.corridor.prompted(ids, media, wanted)
            told = {i: {"logprob": p} for i, p in zip(wanted, found, strict=True)}
            answer = {"prompt_token_ids": ids, "logprobs": [told], "__inference_error__": "", "at": row["at"]}
            return spoil(answer)

    return _clipwise(Stage)()


def through(directory, clips, stage, settings, output=None):
    load = partial(Rater.for_engine, str(directory))
    read = _Reader(load, settings, output)(clips)
    rows = []
    for k, row in enumerate(read.to_pylist()):
        told = asyncio.run(stage._generate_with_error_handling({**row, "at": k}, None))
        assert told.pop("at") == k and told["questions"] == b""  # pixels go no further
        rows.append(row | told)
    return _Finisher(load, settings, output)(
        pa.Table.from_pylist(rows, read.schema.append(pa.field("answers", pa.binary())))
    )


def test_the_rows_are_those_of_score(plain_dir, clips, tmp_path):
    settings = RowSettings(explain=True, full=True)
    found = through(plain_dir, clips, answering(plain_dir), settings, tmp_path)
    assert found.schema.field("shelf").type == pa.int64()
    given = [dict(r) for r in clips.to_pylist()]
    alone = list(rate_rows(given, partial(Rater.from_pretrained, str(plain_dir), threads=1, dtype="float32"), settings))
    assert [r["id"] for r in found.to_pylist()] == ["c0", "c1", "c2"]
    for here, there in zip(alone, found.to_pylist(), strict=True):
        assert list(here) == list(there)
        for name in here.keys() - {"fingerprint", "rating", "explanation", "seconds"}:
            wanted = pytest.approx(here[name], abs=1e-3) if isinstance(here[name], float) else here[name]
            assert there[name] == wanted, name
    assert found["status"].to_pylist() == ["ok", "error", "error"]
    again = _Reader(partial(Rater.for_engine, str(plain_dir)), settings, tmp_path)(clips)
    assert [pickle.loads(r)[0].item.id for r in again["read"].to_pylist()] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (
            {"__inference_error__": "ValueError: no room", "prompt_token_ids": None, "logprobs": None},
            "endpoint_unavailable",
        ),
        ({"prompt_token_ids": [1, 2]}, "views_differ"),
        ({"logprobs": [{}]}, "endpoint_unavailable"),
    ],
)
def test_what_an_engine_gets_wrong_is_an_error_row(plain_dir, clips, wrong, kind):
    found = through(plain_dir, clips.slice(0, 1), answering(plain_dir, lambda told: told | wrong), RowSettings())
    assert found["error_kind"].to_pylist() == [kind]


def test_a_rater_with_a_model_of_its_own_is_refused(plain_dir):
    with pytest.raises(ConfigError, match=r"Rater\.for_engine"):
        _Reader(partial(Rater.from_pretrained, str(plain_dir)), RowSettings(), None)


def test_what_is_not_installed_is_named(monkeypatch, tmp_path):
    engine = VllmEngines("export")
    with pytest.raises(ConfigError, match="--engine-python"):
        replace(engine, python=str(tmp_path / "none")).check()
    monkeypatch.setitem(sys.modules, "ray.data.llm", None)
    with pytest.raises(ConfigError, match=r"mllm-avqa\[ray\] and vllm\[audio\]"):
        engine.check()
    monkeypatch.setitem(sys.modules, "ray.data.llm", types.ModuleType("ray.data.llm"))
    python = tmp_path / "python"
    for told, wanted in (
        ("exit 1", "has no vLLM"),
        ("echo 0.32 0.1", "has Ray 0.1"),
        (f"echo 0.32 {version('ray')}", None),
    ):
        python.write_text(f"#!/bin/sh\n{told}\n")
        python.chmod(0o755)
        if wanted is None:
            return replace(engine, python=str(python)).check()
        with pytest.raises(ConfigError, match=wanted):
            replace(engine, python=str(python)).check()
