"""A local Ray cluster: rows keep their columns, a worker that is killed loses and doubles nothing."""

import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import raters

from mllm_avqa.scale import Cluster, RowSettings, rate_dataset

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
