"""`mllm-avqa score --engine ray`: the same command on a cluster."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mllm_avqa.batch.engine import BatchOptions, BatchResult
from mllm_avqa.batch.inputs import check_inputs, expand
from mllm_avqa.batch.manifests import ManifestColumns
from mllm_avqa.batch.outputs import FORMATS
from mllm_avqa.batch.work import Load
from mllm_avqa.scale.dataset import Cluster, rate_dataset
from mllm_avqa.scale.engine import VllmEngines
from mllm_avqa.scale.rows import RowSettings
from mllm_avqa.schema.errors import ConfigError, OutputError


@dataclass(frozen=True)
class Engine:
    """Where `score` runs."""

    engine: Annotated[
        Literal["local", "ray", "vllm"],
        typer.Option(
            help="ray: on a cluster, -o is then a folder of Parquet partitions; vllm: and vLLM holds the model, "
            "--checkpoint is then a folder of `train export`."
        ),
    ] = "local"
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster: auto, ray://host:port; none starts one.")] = (
        None
    )
    actor_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each copy of the model on the cluster.")] = 0.0
    engines: Annotated[int, typer.Option(min=1, help="Copies of the model with --engine vllm; --workers read.")] = 1
    engine_python: Annotated[
        str | None, typer.Option(help="Interpreter of an environment with vLLM and the same Ray; default: this one.")
    ] = None
    engine_options: Annotated[
        str, typer.Option(help='More arguments of vLLM, as JSON: {"dtype": "float32", "max_model_len": 8192}.')
    ] = "{}"

    def vllm(self, model: str) -> VllmEngines | None:
        """Raises ConfigError."""
        if self.engine != "vllm":
            return None
        try:
            options = json.loads(self.engine_options)
        except ValueError as e:
            raise ConfigError(f"{self.engine_options!r} is no JSON ({e}): --engine-options") from e
        if not isinstance(options, dict):
            raise ConfigError(f"{self.engine_options!r} is no JSON object: --engine-options")
        if self.actor_gpus != int(self.actor_gpus):
            raise ConfigError(f"{self.actor_gpus} GPUs: an engine has whole ones, or 0 (--actor-gpus)")
        return VllmEngines(model, self.engines, self.engine_python, int(self.actor_gpus), options=options)


def run_on_ray(load: Load, batch: BatchOptions, engine: Engine, tick: Callable[[str], None], model: str) -> BatchResult:
    """Rate the clips of a batch on a Ray cluster into a folder. Raises ConfigError and OutputError for wrong usage.

    model: folder of the checkpoint, for engines of vLLM.
    """
    try:
        import ray
        import ray.data
    except ImportError as e:
        raise ConfigError(f"--engine ray needs Ray, which is not installed: pip install 'mllm-avqa[ray]' ({e})") from e
    if batch.output.suffix.lower() in FORMATS or batch.output.is_file() or str(batch.output) == "-":
        raise OutputError(f"-o {batch.output}: on a cluster the output is a folder of Parquet partitions")
    if batch.shard is not None:
        raise ConfigError("--shard is for runs without a cluster, which shares the clips out itself")
    if batch.timeline is not None:
        raise ConfigError("--timeline is for runs without a cluster; --full keeps the seconds in every row")
    check_inputs(batch.inputs, batch.manifest)
    batch.gate.check()
    engines = engine.vllm(model)
    if engines is not None:
        engines.check()
    if batch.fresh and batch.output.is_dir():
        for part in batch.output.glob("part-*.parquet"):
            part.unlink()
    ended_by = signal.getsignal(signal.SIGTERM)
    ray.init(address=engine.address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, ended_by)  # Ray puts its own in its place: this command ends as all others do
    ray.data.DataContext.get_current().enable_progress_bars = False
    source = ray.data.from_items(list(_rows(batch)))
    settings = RowSettings(
        ManifestColumns(), batch_size=batch.batch_size, explain=batch.explain, full=batch.full, findings=batch.findings,
        gate=batch.gate, limits=batch.limits, told=batch.settings,
    )  # fmt: skip
    cluster = Cluster(batch.workers, gpus=0 if engines else engine.actor_gpus, rows=4 * batch.batch_size)
    counts: Counter[str] = Counter()
    rated = rate_dataset(source, load, settings=settings, cluster=cluster, output=batch.output, engine=engines)
    gated: list[tuple[str, str]] = []
    for row in rated.select_columns(["status", "path", "gate"]).iter_rows():
        counts[row["status"]] += 1
        gated += [(row["path"], row["gate"])] if row["gate"] else []
        tick("rated" if row["status"] == "ok" else "failed")
    current = source.count() - sum(counts.values())
    return BatchResult(rated=counts["ok"], failed=counts["error"], current=current, gated=gated)


def _rows(batch: BatchOptions) -> Iterator[dict[str, Any]]:
    """The clips as rows with absolute paths: actors may run in any folder that sees the same disks."""
    for item in expand(batch.inputs, batch.manifest, columns=batch.columns):
        if item.error is not None:
            raise ConfigError(str(item.error))
        yield {
            "path": str(Path(item.file).absolute()), "text": item.user_text, "id": item.id, "start": item.start,
            "end": item.end, **item.carried,
        }  # fmt: skip
