"""Two training processes with one thread each (DDP over gloo) against one process with one thread."""

from __future__ import annotations

from benchmarks import training
from benchmarks.base import Measured, Options, Ratio
from benchmarks.training import BATCH, WARM, StepCost

PROCESSES = 2
QUESTIONS = 5


def run(settings: Options) -> Measured:
    alone: list[StepCost] = []
    together: list[StepCost] = []
    with training.workplace(settings) as place:
        config = training.written(place, "processes", training.stage(place, "full", QUESTIONS))
        first = WARM * place.clips // BATCH
        for _ in range(settings.repeats):
            for processes, costs in ((1, alone), (PROCESSES, together)):
                ticks = training.train(place, config, processes=processes)
                costs.append(training.between(ticks, first, len(ticks), processes))
    return report(alone, together)


def report(alone: list[StepCost], together: list[StepCost]) -> Measured:
    """Costs of the same number of steps; the processes have twice the rows."""
    one, two = (training.middle([c.rows / c.wall for c in costs]) for costs in (alone, together))
    waits = training.middle([c.cpu / c.wall for c in together])
    rows = [Ratio(f"clips/s, {PROCESSES} processes / 1 process", f"{two:.2f}/s", f"{one:.2f}/s", two / one, ">= 1.6")]
    notes = [
        f"`torchrun --standalone --nproc_per_node {PROCESSES} -m train run CONFIG` against `python -m train run "
        f"CONFIG`, one thread a process: 9 M parameters, all trained in bf16 autocast, {BATCH} clips a process and "
        f"step, {QUESTIONS} questions a clip ({alone[0].load} a row).",
        f"{alone[0].steps} steps after {WARM} epoch of warm-up; medians of {len(alone)} runs each, in turns.",
        f"The first of the two processes computes {waits:.0%} of its time; the rest is waiting for the other one.",
    ]
    return Measured("Processes", rows, notes)
