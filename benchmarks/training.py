"""What the benchmarks of training share: clips with questions, a small checkpoint, and runs under a clock.

Costs are those of whole training steps after a first epoch: start-up, preparation of clips and saving are left out.
Every process has one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.base import Options
from data_recipes.synthesis.synth import synthesise
from mllm_avqa.schema.errors import AvqaError

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "benchmarks" / "training.yaml"
CLOCK = ROOT / "benchmarks" / "clock.py"
BATCH, WARM, EPOCHS = 4, 1, 2  # clips a step; epochs before the clock counts, and while it does
# Pictures of 6 x 9 patches of 28 pixels in both views, 8 frames each: as many as 16 frames of a picture within PIXELS
PIXELS = 42_500
VIEWS = {"global_pixels": PIXELS, "fragment_grid": [6, 9]}
SIZE = {"vocab": 1024, "llm": [256, 6], "vision": [192, 4], "audio": [192, 4], "heads": 4}  # 9 M parameters
PARTS = ("llm", "vision", "audio", "projectors")
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
}


class RunFailed(AvqaError):
    """A training run that was to be timed ended with an error."""

    kind = "run_failed"


@dataclass(frozen=True)
class MachinePlace:
    """Folder with `data/records.jsonl` and `checkpoint`; runs write beside them."""

    folder: Path
    clips: int

    @property
    def records(self) -> Path:
        return self.folder / "data" / "records.jsonl"

    @property
    def checkpoint(self) -> Path:
        """In the layout of the full model, with its processor: ms-swift loads it, and so does `init`."""
        return self.folder / "checkpoint"


@dataclass(frozen=True)
class StepCost:
    """What the timed steps of a run took, in seconds, and what they were given."""

    steps: int
    rows: int
    tokens: int
    patches: int
    cpu: float
    wall: float
    spans: dict[str, float] = field(default_factory=dict)  # CPU seconds in methods the clock was asked to watch

    @property
    def cpu_per_row(self) -> float:
        return self.cpu / self.rows

    @property
    def load(self) -> str:
        return f"{self.tokens / self.rows:.0f} tokens and {self.patches / self.rows:.0f} picture patches"


@contextmanager
def workplace(settings: Options) -> Iterator[MachinePlace]:
    """Clips, their questions, and a checkpoint of random weights, in `--keep FOLDER` or for the time being."""
    if settings.keep is not None:
        yield prepare(settings.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield prepare(Path(folder))


def prepare(folder: Path) -> MachinePlace:
    """Make what is missing. Clips are of the example clip, whatever `--clip` says: their questions must be true."""
    folder = folder.resolve()
    records = synthesise(RECIPE, folder / "data", workers=None).records
    place = MachinePlace(folder, len(records))
    if not place.checkpoint.is_dir():
        from train import saving
        from train.config import Config
        from train.export import export
        from train.start import fresh

        # see_bands: off, so that pixels are normalised as stock processors do it
        start = {"build": {"size": SIZE, "see_bands": False}, "stages": [{"name": "none", "steps": 1}]}
        config = Config.model_validate(common(place, "start") | {"init": None} | start)
        saving.save(*fresh(config, records), folder / "start")
        export(folder / "start", place.checkpoint, dtype="float32")
    return place


def common(place: MachinePlace, name: str) -> dict[str, Any]:
    """What every config of these benchmarks has."""
    return {
        "name": name,
        "records": str(place.records),
        "output": str(place.folder / name),
        "init": str(place.checkpoint),
        "views": VIEWS,
        "languages": ["en"],
        "threads": 1,
    }


def stage(place: MachinePlace, tune: str, questions: int, epochs: int = WARM + EPOCHS, **more: Any) -> dict[str, Any]:
    """One stage on every clip with `questions` questions and no facts: what a peer is shown as well.

    tune: "full" trains everything, "lora" the language model at rank 8 and nothing else.
    """
    rest = "frozen" if tune == "lora" else tune
    return {
        "name": "stage",
        "steps": epochs * place.clips // BATCH,
        "batch": BATCH,
        "lr": 1e-4,
        "mixture": {"stage1": questions},
        "dropout": {"facts": 1.0, "views": 0.0, "context": 1.0},
        "parts": {part: {"tune": tune if part == "llm" else rest} for part in PARTS},
        "lora": {"r": 8, "alpha": 32},
        "save_every": 1_000_000,
        **more,
    }


def written(place: MachinePlace, name: str, stage: Mapping[str, Any], **more: Any) -> Path:
    """The config `name`.yaml of a run."""
    path = place.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(common(place, name) | more | {"stages": [dict(stage)]}, sort_keys=False))
    return path


def train(place: MachinePlace, config: Path, spans: Sequence[str] = (), processes: int = 1) -> list[dict[str, Any]]:
    """Run our training of a config from its start. Returns the clock's lines."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return clocked([sys.executable, *launcher], place, config.stem, "train", ["run", str(config)], spans=spans)


def clocked(
    python: Sequence[str],
    place: MachinePlace,
    name: str,
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    spans: Sequence[str] = (),
    cwd: Path = ROOT,
) -> list[dict[str, Any]]:
    """`python -m module arguments` under the clock, its output in NAME.log. Raises RunFailed with the log's end."""
    ticks, log = place.folder / f"{name}.ticks", place.folder / f"{name}.log"
    ticks.unlink(missing_ok=True)
    shutil.rmtree(place.folder / name, ignore_errors=True)  # else it would be resumed
    watched = [word for span in spans for word in ("--span", span)]
    command = [*python, str(CLOCK), str(ticks), *watched, module, *arguments]
    with log.open("w", encoding="utf-8") as out:
        given = os.environ | ENVIRONMENT | dict(environment or {})
        code = subprocess.run(command, env=given, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code or not ticks.is_file():
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise RunFailed(f"`{module}`, benchmark run {name}, ended with code {code}:\n{end}")
    return [json.loads(line) for line in ticks.read_text(encoding="utf-8").splitlines()]


def between(ticks: Sequence[Mapping[str, Any]], first: int, last: int, processes: int = 1) -> StepCost:
    """What the steps after `first` up to `last` took (numbers of steps, from 1). Rows are of all processes."""
    a, b = ticks[first - 1], ticks[last - 1]
    return StepCost(
        steps=last - first,
        rows=(b["rows"] - a["rows"]) * processes,
        tokens=(b["tokens"] - a["tokens"]) * processes,
        patches=(b["patches"] - a["patches"]) * processes,
        cpu=b["cpu"] - a["cpu"],
        wall=b["wall"] - a["wall"],
        spans={k: b["spans"][k] - a["spans"][k] for k in b["spans"]},
    )


def after_warm_up(ticks: Sequence[Mapping[str, Any]], processes: int = 1) -> StepCost:
    """All epochs but the first of a run of WARM + EPOCHS."""
    return between(ticks, len(ticks) * WARM // (WARM + EPOCHS), len(ticks), processes)


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)
