"""MATLAB label files as rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_recipes.datasets.card import Table
from data_recipes.datasets.tables import Cell, Row, clean
from mllm_avqa.schema.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

LIVE_FOLDERS = (("jp2k", 227), ("jpeg", 233), ("wn", 174), ("gblur", 174), ("fastfading", 174))  # LIVE release 2 readme


def load(path: Path) -> dict[str, Any]:
    """Variables of a .mat file; fields of a struct as "struct.field". Raises ConfigError for other files."""
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        raw = loadmat(path, squeeze_me=True)
    except NotImplementedError as e:
        advice = "MATLAB 7.3 (HDF5); save it again with save(..., '-v7')"
        raise ConfigError(f"{path}: {advice}") from e
    except (MatReadError, ValueError, TypeError, OSError) as e:
        raise ConfigError(f"{path}: not a MATLAB file: {e}") from e
    flat: dict[str, Any] = {}
    for name, value in raw.items():
        if name.startswith("__"):
            continue
        flat[name] = value
        if isinstance(value, np.ndarray) and value.ndim == 0:
            flat.update({f"{name}.{key}": value[key].item() for key in value.dtype.names or ()})
    return flat


def vector(path: Path, variables: dict[str, Any], name: str) -> np.ndarray:
    """One variable, or column k of a matrix as "name:k", as a 1-D array."""
    import numpy as np

    variable, _, index = name.partition(":")
    if variable not in variables:
        raise ConfigError(f"{path}: no variable {variable!r}; it has: {', '.join(sorted(variables))}")
    value = np.atleast_1d(variables[variable])
    value = value[:, int(index)] if index and value.ndim == 2 else value
    if value.ndim != 1:
        raise ConfigError(f"{path}: {name} has shape {value.shape}, expected one value per clip")
    return value


def read_mat(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of equally long variables; `lookup` columns take a 1-based index into a table variable."""
    variables = load(path)
    named = table.columns if isinstance(table.columns, dict) else {}
    columns = {new: vector(path, variables, old) for new, old in named.items()}
    for new, (names, index) in table.lookup.items():
        columns[new] = vector(path, variables, names)[vector(path, variables, index).astype(int) - 1]
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ConfigError(f"{path}: variables of different length: {lengths}")
    for number, values in enumerate(zip(*columns.values(), strict=True), 1):
        yield Row(f"{path.name}: entry {number}", dict(zip(columns, map(_cell, values), strict=True)))


def read_live_image(path: Path, table: Table, needed: frozenset[str]) -> Iterator[Row]:
    """Rows of LIVE image quality release 2: names follow from the folder sizes, references are marked in `orgs`."""
    labels, names = load(path), load(path.with_name("refnames_all.mat"))
    columns = [vector(path, labels, v) for v in ("dmos_new", "dmos_std", "orgs")]
    references = vector(path, names, "refnames_all")
    expected = sum(n for _, n in LIVE_FOLDERS)
    if {len(c) for c in (*columns, references)} != {expected}:
        raise ConfigError(f"{path}: {[len(c) for c in (*columns, references)]} entries, release 2 has {expected}")
    images = [f"{folder}/img{i}.bmp" for folder, n in LIVE_FOLDERS for i in range(1, n + 1)]
    for number, (image, reference, *values) in enumerate(zip(images, references, *columns, strict=True), 1):
        dmos, std, is_reference = map(float, values)
        cells: dict[str, Cell] = {"image": image, "reference": _cell(reference), "dmos": dmos, "std": std}
        yield Row(f"{path.name}: entry {number}", {**cells, "is_reference": str(int(is_reference))})


def _cell(value: Any) -> Cell:
    return clean(value) if isinstance(value, str) else float(value)
