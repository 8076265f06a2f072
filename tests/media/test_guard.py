"""The guarded process: replaced when it dies, never shared by accident, and light to start."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import pytest
from media_synth import numbers

from mllm_avqa import media
from mllm_avqa.media import DecodeSpec, MediaReader
from mllm_avqa.media import guard as guard_module
from mllm_avqa.schema.errors import MediaError


def _pid(reader: MediaReader) -> int:
    assert reader._child is not None
    return reader._child.process.pid


def test_one_process_serves_many_requests(plain: Path) -> None:
    with MediaReader() as reader:
        reader.probe(plain)
        first = _pid(reader)
        with pytest.raises(MediaError):
            reader.probe(plain.parent)  # an ordinary error is no reason to start anew
        reader.read_clip(plain)
        assert _pid(reader) == first


def test_killed_while_idle(plain: Path) -> None:
    with MediaReader() as reader:
        reader.probe(plain)
        first = _pid(reader)
        os.kill(first, signal.SIGKILL)
        assert reader.probe(plain).video.width == 320
        assert _pid(reader) != first


def test_killed_at_work(plain: Path) -> None:
    """A stopped process takes the request but never answers; killing it then must not lose the request."""
    with MediaReader() as reader:
        reader.probe(plain)
        first = _pid(reader)
        os.kill(first, signal.SIGSTOP)
        killer = threading.Timer(0.2, os.kill, (first, signal.SIGKILL))
        killer.start()
        assert len(reader.read_clip(plain).video.thumbs) == 60
        killer.join()


def test_crash_on_every_try_is_a_typed_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = "import os; os.write(2, b'boom')\n" + guard_module._BOOT.replace(
        "worker.main()",
        "worker._answer = lambda *_: os.kill(os.getpid(), 11); worker.main()",
    )
    monkeypatch.setattr(guard_module, "_BOOT", boot)
    with MediaReader() as reader, pytest.raises(MediaError, match=r"signal 11.*boom"):
        reader.probe(plain)


def test_process_that_cannot_start(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "_BOOT", "raise SystemExit('no luck')")
    with MediaReader() as reader, pytest.raises(MediaError, match=r"did not start: no luck"):
        reader.probe(plain)


def test_process_goes_away_with_its_reader(plain: Path) -> None:
    reader = MediaReader()
    reader.probe(plain)
    pid = _pid(reader)
    del reader
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_process_goes_away_with_its_owner(plain: Path) -> None:
    code = (
        "import os, sys; from mllm_avqa.media import MediaReader; r = MediaReader(); r.probe(sys.argv[1]); "
        "print(r._child.process.pid, flush=True); os._exit(1)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(plain)], capture_output=True, text=True, check=False)
    pid = int(out.stdout)
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return  # ended; nobody is left to collect it
        time.sleep(0.02)
    pytest.fail("the decoding process outlived its owner")


def test_threads_share_a_reader(reader: MediaReader, plain: Path) -> None:
    results: dict[int, list[int]] = {}

    def work(start: int) -> None:
        spec = DecodeSpec(start=start / 30, duration=10 / 30)
        results[start] = numbers(reader.read_clip(plain, spec).video.thumbs)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {start: list(range(start, start + 10)) for start in (0, 10, 20, 30)}


def _in_worker(arguments: tuple[str, MediaReader | None]) -> tuple[int, int]:
    path, reader = arguments
    info = reader.probe(path) if reader else media.probe(path)
    return info.video.width, os.getpid()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_inside_multiprocessing_workers(plain: Path, method: str) -> None:
    media.probe(plain)  # the parent's default reader exists before the fork
    owner = guard_module.default_reader()
    before = _pid(owner)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_in_worker, [(str(plain), None)])[0][0] == 320
        assert pool.map(_in_worker, [(str(plain), MediaReader())])[0][0] == 320
    assert media.probe(plain).video.width == 320
    assert _pid(owner) == before


def test_fork_while_a_request_runs(plain: Path) -> None:
    with MediaReader() as reader:
        reader.probe(plain)
        with reader._lock:  # as if another thread were in the middle of a request
            pid = os.fork()
            if pid == 0:
                ok = reader.probe(plain).video.width == 320
                reader.close()
                os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert reader.probe(plain).video.width == 320


def test_pickled_reader_keeps_its_settings() -> None:
    copy = pickle.loads(pickle.dumps(MediaReader(limits=media.Limits(max_seconds=5))))
    assert copy.limits.max_seconds == 5
    assert copy.reader == "pyav"


def test_child_does_not_import_heavy_packages() -> None:
    code = (
        "import sys, mllm_avqa.media.worker, mllm_avqa.media.readers.pyav_reader, av; "
        "print([m for m in ('torch', 'transformers', 'scipy', 'cv2', 'decord', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_arrays_belong_to_the_caller(reader: MediaReader, plain: Path) -> None:
    clip = reader.read_clip(plain)
    clip.video.frames[0] = 0
    clip.audio.samples *= 2.0
    assert clip.video.thumbs.flags.writeable


def test_a_child_is_replaced_after_its_lifetime(tmp_path, monkeypatch):
    """The heap of a process that decodes files of many sizes grows slowly: no child lives for ever."""
    monkeypatch.setattr("mllm_avqa.media.guard._LIFETIME", 2)
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(8000)
        w.writeframes(bytes(8000))
    with MediaReader() as reader:
        pids = []
        for _ in range(5):
            assert reader.probe(path).audio is not None
            pids.append(reader._child.process.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


@pytest.mark.parametrize("error", ["ValueError('31 is not a valid Type')", "AttributeError('x' * 9999)", "KeyError(1)"])
def test_any_exception_is_a_short_typed_error(plain: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """What a library throws at a stranger's bytes ends that file's request, not the process, and shows no traceback."""
    boot = guard_module._BOOT.replace(
        "worker.main()",
        "answer = worker._answer\n"
        "def fail(request, *rest):\n"
        f"    if request['op'] == 'read_clip': raise {error}\n"
        "    return answer(request, *rest)\n"
        "worker._answer = fail\nworker.main()",
    )
    monkeypatch.setattr(guard_module, "_BOOT", boot)
    with MediaReader() as reader:
        reader.probe(plain)
        first = _pid(reader)
        with pytest.raises(MediaError, match=r"plain\.mp4 cannot be read \(" + error.split("(")[0]) as caught:
            reader.read_clip(plain)
        assert len(str(caught.value)) < 600
        assert "Traceback" not in str(caught.value)
        assert reader.probe(plain).video.width == 320
        assert _pid(reader) == first
