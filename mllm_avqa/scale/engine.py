"""`ray.data.llm` for checkpoints that want an engine: actors read clips, vLLM reads level tokens, actors write rows.

A row of the pipeline is a clip with all its questions. So views cross the cluster once however many aspects are asked
about them, nothing has to be grouped again behind the engine, and what is rated is written down while the rest runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mllm_avqa.batch.journal import Cells
from mllm_avqa.batch.work import Load, rate_jobs
from mllm_avqa.scale.partitions import Partitions
from mllm_avqa.scale.rows import RowSettings, jobs_of
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

    from mllm_avqa.rater import Rater

_ASKED_FOR = "from importlib.metadata import version as v; print(v('vllm'), v('ray'))"
_TELL = "mllm-avqa[ray] and vllm[audio], or --engine-python of an environment that has vllm and the same ray"


@dataclass(frozen=True)
class VllmEngines:
    """vLLM engines of a cluster. model: folder of `train export`, on a disk that all of it sees; count: of engines.

    python: interpreter of the engines, of an environment with vLLM and the Ray of this one; by default this one.
    gpus: of each, that share the model; 0: it runs on processors. batch: clips that an engine is given at once.
    options: more arguments of the engine, as `vllm serve` takes them; env: variables of its processes.
    """

    model: str | Path
    count: int = 1
    python: str | None = None
    gpus: int = 1
    batch: int = 16
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ConfigError where Ray's or vLLM's part is not installed, or another Ray is."""
        try:
            import ray.data.llm  # noqa: F401
        except ImportError as e:
            raise ConfigError(f"engines on Ray need ray.data.llm ({e}): pip install {_TELL}") from e
        python = self.python or sys.executable
        try:
            env = {**os.environ, **self.env}
            told = subprocess.run([python, "-c", _ASKED_FOR], capture_output=True, text=True, timeout=60, env=env)
        except (OSError, subprocess.SubprocessError) as e:
            raise ConfigError(f"{python} is no interpreter for engines ({e}): --engine-python") from e
        found = told.stdout.split()
        if told.returncode or len(found) != 2:
            raise ConfigError(f"{python} has no vLLM for engines on Ray: pip install {_TELL}")
        if found[1] != version("ray"):
            raise ConfigError(f"{python} has Ray {found[1]}, this is Ray {version('ray')}: {_TELL}")

    def config(self) -> Any:
        """Of `ray.data.llm`. Prompts come as token ids and answers are log-probabilities: no other stage is wanted."""
        from ray.data.llm import vLLMEngineProcessorConfig

        own = {"max_model_len": 4096, "limit_mm_per_prompt": {"video": 2, "audio": 1, "image": 0}}
        shared = {"tensor_parallel_size": self.gpus} if self.gpus > 1 else {}
        env: dict[str, Any] = {"env_vars": dict(self.env)} if self.env else {}
        bundle = {"CPU": 1, "GPU": min(1, self.gpus)}
        return vLLMEngineProcessorConfig(
            model_source=str(Path(self.model).absolute()),
            engine_kwargs={**own, **shared, **self.options},
            runtime_env=env | ({"py_executable": self.python} if self.python else {}),
            placement_group_config={"bundles": [bundle] * max(1, self.gpus)},
            concurrency=self.count,
            batch_size=self.batch,
            should_continue_on_error=True,  # a clip that fails is an error row
            log_engine_metrics=False,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
        )


def through_engine(clips: ray.data.Dataset, engine: VllmEngines, how: dict[str, Any]) -> ray.data.Dataset:
    """Rows of clips, in three stages. how: of actors before and behind the engine."""
    engine.check()
    import ray.data
    from ray.data.llm import build_processor

    processor = build_processor(
        engine.config(),
        # What it wants of every row; the questions bring their own.
        preprocess=lambda row: {**row, "sampling_params": {"max_tokens": 1}},
        postprocess=lambda row: {k: row[k] for k in ("read", "answers")},
        preprocess_map_kwargs={"num_cpus": 0},
        postprocess_map_kwargs={"num_cpus": 0},
    )
    stage = processor.stages["vLLMEngineStage"]
    # A copy: assigned to the stage itself, it would be checked anew, without what the first check took out of it.
    processor.stages["vLLMEngineStage"] = stage.model_copy(update={"fn": _clipwise(stage.fn)})
    read = clips.map_batches(_Reader, **how)
    few = {"compute": ray.data.ActorPoolStrategy(size=1), "num_cpus": 0.0, "num_gpus": 0.0}  # a fraction of the reading
    return processor(read).map_batches(_Finisher, **how | few)


def _clipwise(one_by_one: Any) -> Any:
    """The stage of `ray.data.llm`, with several questions in a row.

    Made here, it travels by value: an engine's environment has nothing of this project.
    """

    class Clipwise(one_by_one):  # type: ignore[misc]
        async def _generate_with_error_handling(self, row: dict[str, Any], batch_uuid: Any) -> dict[str, Any]:
            import asyncio
            import pickle

            index = {self.IDX_IN_BATCH_COLUMN: row[self.IDX_IN_BATCH_COLUMN]}

            async def answer(question: dict[str, Any]) -> dict[str, Any]:
                told = await one_by_one._generate_with_error_handling(self, {**question, **index}, batch_uuid)
                levels = {i: t["logprob"] for i, t in told["logprobs"][0].items()} if told.get("logprobs") else {}
                return {"error": told["__inference_error__"], "ids": told["prompt_token_ids"], "levels": levels}

            answers = await asyncio.gather(*map(answer, pickle.loads(row["questions"])))
            return {**index, "questions": b"", "answers": pickle.dumps(answers)}

    return Clipwise


class _Reader:
    """Decodes and measures clips, and writes down what an engine is asked about them."""

    def __init__(self, load: Load, settings: RowSettings, output: Path | None) -> None:
        self.rater, self.settings = _opened(load), settings
        self.partitions = Partitions(output, settings.how(self.rater).fingerprint)

    def __call__(self, block: pa.Table) -> pa.Table:
        import pickle

        import pyarrow as pa

        from mllm_avqa.rater.staged import questions

        jobs = [j for j in jobs_of(block.to_pylist(), self.settings) if not self.partitions.current(j)]
        good = [j for j in jobs if j.error is None]
        files = self.rater.many.read(
            [j.item.file for j in good], 1, 2 * self.settings.batch_size, [j.item.user_text for j in good],
            [(j.item.start or 0.0, j.item.end) for j in good], [j.content_hash for j in good],
        )  # fmt: skip
        rows = []
        for job in jobs:
            file = None if job.error else next(files)[0]
            asked = questions(self.rater, file) if file else []
            rows.append({"read": pickle.dumps((job, file, block.schema)), "questions": pickle.dumps(asked)})
        return pa.Table.from_pylist(rows, pa.schema({"read": pa.large_binary(), "questions": pa.large_binary()}))


class _Finisher:
    """Takes the answers to the questions, and goes on as any batch does."""

    def __init__(self, load: Load, settings: RowSettings, output: Path | None) -> None:
        self.rater = _opened(load)
        self.how = settings.how(self.rater)
        self.partitions = Partitions(output, self.how.fingerprint)

    def __call__(self, block: pa.Table) -> pa.Table:
        import pickle

        import pyarrow as pa

        from mllm_avqa.rater.staged import Answered

        rows: list[Cells] = []
        given = pa.schema([])
        for row in block.to_pylist():
            job, file, given = pickle.loads(row["read"])
            rows += rate_jobs(Answered(self.rater, file, pickle.loads(row["answers"])), [job], self.how)
        return self.partitions.put(rows, given)


def _opened(load: Load) -> Rater:
    from mllm_avqa.rater.staged import corridor_of

    rater = cast("Rater", load())
    corridor_of(rater)
    return rater
