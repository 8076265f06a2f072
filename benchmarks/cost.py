"""What many clips cost: `python -m benchmarks.cost --clips 1e9`. Formulas and defaults: docs/SCALE.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated

import typer

DAY = 86_400.0
YEAR_MONTHS = 12


@dataclass(frozen=True)
class Load:
    """One clip, in core seconds and bytes; prices and machines. The defaults are those of docs/SCALE.md."""

    clips: float = 1e6
    decode_s: float = 0.40  # decoding, in core seconds
    measure_s: float = 0.20  # facts of windows and file, views and context
    model_s: float = 0.10  # the model on a core; what is used without a GPU
    clip_mb: float = 2.0  # read from storage
    row_kb: float = 2.0  # written, compressed
    cores: int = 64  # of one machine
    busy: float = 0.85  # share of the time that cores and GPUs are busy
    core_hour: float = 0.04  # price
    gpus: int = 0  # of one machine; 0: the model runs on the cores
    gpu_hour: float = 3.0
    parameters: float = 3e9  # of the model on the GPU
    tokens: float = 1500.0  # of one window
    windows: float = 1.0  # of one clip
    gpu_tflops: float = 800.0  # dense bf16, by its data sheet
    mfu: float = 0.35  # share of them that a forward reaches
    read_gb: float = 0.0  # price of reading one GB (0 inside one zone)
    store_gb_month: float = 0.02  # price of keeping the rows

    @property
    def gpu_s(self) -> float:
        """GPU seconds of a clip: a forward takes two operations per parameter and token."""
        return self.windows * 2 * self.parameters * self.tokens / (self.gpu_tflops * 1e12 * self.mfu)

    @property
    def core_s(self) -> float:
        return self.windows * (self.decode_s + self.measure_s + (0.0 if self.gpus else self.model_s))


def bill(load: Load) -> dict[str, float | str]:
    """Seconds, bytes and prices of the whole run on one machine; machines divide the days, not the price."""
    by_cores = load.core_s / (load.cores * load.busy)
    by_gpus = load.gpu_s / (load.gpus * load.busy) if load.gpus else 0.0
    clip_s = max(by_cores, by_gpus)
    hours = load.clips * clip_s / 3600
    rows_gb = load.clips * load.row_kb / 1e6
    return {
        "bound by": "model" if by_gpus > by_cores else "decoding" if load.gpus else "cores",
        "clips a second, one machine": 1 / clip_s,
        "days, one machine": load.clips * clip_s / DAY,
        "core hours": load.clips * load.core_s / 3600,
        "GPU hours": load.clips * load.gpu_s / 3600 if load.gpus else 0.0,
        "cores that keep one GPU busy": load.core_s / load.gpu_s if load.gpus else 0.0,
        "price of computing": hours * (load.cores * load.core_hour + load.gpus * load.gpu_hour),
        "GB read": load.clips * load.clip_mb / 1e3,
        "MB/s read, one machine": load.clip_mb / clip_s,
        "price of reading": load.clips * load.clip_mb / 1e3 * load.read_gb,
        "GB of rows": rows_gb,
        "price of keeping them a year": rows_gb * load.store_gb_month * YEAR_MONTHS,
    }


def main(
    given: Annotated[list[str], typer.Argument(help="key=value of docs/SCALE.md, as clips=1e9 gpus=8 cores=192.")],
) -> None:
    """Print the bill of a load."""
    kinds = {f.name: type(f.default) for f in fields(Load)}
    values: dict[str, float] = {}
    for item in given:
        name, _, value = item.partition("=")
        if name not in kinds:
            raise typer.BadParameter(f"{item!r}: allowed are {', '.join(kinds)}")
        try:
            values[name] = kinds[name](float(value))
        except ValueError:
            raise typer.BadParameter(f"{item!r}: the value must be a number") from None
    load = Load(**values)  # type: ignore[arg-type]
    typer.echo("  ".join(f"{k}={v:g}" for k, v in asdict(load).items()))
    for name, value in bill(load).items():
        typer.echo(f"{name:32} {value if isinstance(value, str) else format(value, ',.4g')}")


if __name__ == "__main__":
    typer.run(main)
