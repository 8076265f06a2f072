"""A local Ray cluster: rows keep their columns, a worker that is killed loses and doubles nothing."""

import signal
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import raters

sys.path.insert(0, str(Path(__file__).parents[1] / "eval"))
from small_clips import write

from mllm_avqa.rater import Rater
from mllm_avqa.scale import Cluster, RowSettings, VllmEngines, rate_dataset

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")


@pytest.fixture(scope="module")
def cluster():
    ended_by = signal.getsignal(signal.SIGTERM)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.cloudpickle.register_pickle_by_value(raters)
    yield Cluster(actors=2, cpus=1, rows=3)
    ray.shutdown()
    signal.signal(signal.SIGTERM, ended_by)  # Ray's own would stay


@pytest.mark.timeout(240)
def test_a_killed_worker_loses_and_doubles_nothing(cluster: Cluster, tmp_path: Path) -> None:
    for k in range(12):
        (tmp_path / f"{k}.mp4").write_bytes(b"KILL" if k == 5 else b"BAD" if k == 7 else b"x" * (k + 1))
    given = ray.data.from_items([{"path": str(tmp_path / f"{k}.mp4"), "n": k} for k in range(12)])
    out = tmp_path / "out"
    rows = rate_dataset(given, raters.RowRater, cluster=cluster, output=out).take_all()
    assert (tmp_path / "5.mp4.died").exists()
    assert sorted(r["n"] for r in rows) == list(range(12))
    written = pq.read_table(out)
    assert sorted(written["n"].to_pylist()) == list(range(12))
    assert [r["n"] for r in rows if r["status"] == "error"] == [7]
    again = rate_dataset(given, raters.RowRater, settings=RowSettings(), cluster=cluster, output=out).take_all()
    assert [r["n"] for r in again] == [7]


STAND_IN = """
from dataclasses import dataclass
from types import SimpleNamespace

class Any:
    def __init__(self, **given): self.__dict__.update(given)

class AsyncEngineArgs(Any):
    def create_engine_config(self):
        assert self.limit_mm_per_prompt["video"] == 2 and self.dtype == "float32"
        scheduler = SimpleNamespace(max_num_seqs=1)
        return SimpleNamespace(scheduler_config=scheduler, parallel_config=SimpleNamespace(pipeline_parallel_size=1))

class SamplingParams(Any): pass

@dataclass
class Logprob:
    logprob: float

class outputs:
    class RequestOutput(Any): pass

def TokensPrompt(**given): return given
TextPrompt = None

class AsyncLLMEngine:
    @classmethod
    def from_engine_args(cls, args, stat_loggers): return cls()

    async def generate(self, request_id, prompt, sampling_params, lora_request):
        places = [len(v) // 2 * (v.shape[1] // 28) * (v.shape[2] // 28) for v in prompt["multi_modal_data"]["video"]]
        counts, ids = iter(places), []
        for i in prompt["prompt_token_ids"]:
            ids += [i] * (next(counts) if i == PAD else 1)
        told = {i: Logprob(-1.7) for i in sampling_params.logprob_token_ids}
        answer = SimpleNamespace(token_ids=[1], text="", logprobs=[told])
        more = {"metrics": None, "prompt_logprobs": None}
        yield outputs.RequestOutput(finished=True, prompt_token_ids=ids, outputs=[answer], **more)

    async def do_log_stats(self): pass
"""


@pytest.mark.timeout(240)
def test_rows_pass_through_the_vllm_stage_of_ray(cluster: Cluster, tmp_path: Path, tiny_dir: Path, tiny) -> None:
    pytest.importorskip("ray.data.llm")
    package = tmp_path / "engine" / "vllm"
    (package / "inputs").mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN.replace("PAD", str(tiny.pads["video"])))
    for inside in ("", "llm"):
        (package / "inputs" / f"{inside or '__init__'}.py").write_text("from vllm import TextPrompt, TokensPrompt")
    (tmp_path / "engine" / "vllm-0.32.0.dist-info").mkdir()
    (tmp_path / "engine" / "vllm-0.32.0.dist-info" / "METADATA").write_text("Name: vllm\nVersion: 0.32.0\n")
    for k in range(3):
        write(tmp_path / f"{k}.mp4", sound=False)
    (tmp_path / "3.mp4").write_bytes(b"no media")
    given = ray.data.from_items([{"path": str(tmp_path / f"{k}.mp4"), "n": k} for k in range(4)])
    paths = {"PYTHONPATH": f"{tmp_path / 'engine'}:{Path(__file__).parents[2]}"}
    engines = VllmEngines(tiny_dir, gpus=0, batch=2, options={"dtype": "float32"}, env=paths)
    out = tmp_path / "out"
    how = {"load": partial(Rater.for_engine, str(tiny_dir)), "cluster": Cluster(rows=2), "output": out}
    rated = rate_dataset(given, **how, engine=engines)
    rows = sorted(rated.take_all(), key=lambda r: r["n"])
    assert [(r["n"], r["status"], r["video"]) for r in rows] == [
        (0, "ok", 3.0), (1, "ok", 3.0), (2, "ok", 3.0), (3, "error", None),
    ]  # fmt: skip
    assert sorted(pq.read_table(out)["n"].to_pylist()) == [0, 1, 2, 3]
    again = rate_dataset(ray.data.from_items(given.take(2)), **how, engine=engines)
    assert [r["n"] for r in again.take_all()] == []  # nothing is left to ask
