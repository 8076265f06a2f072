"""What keys of caches say about the code that filled them."""

import subprocess
import sys

import pytest

from mllm_avqa.schema.files import WINDOW_CODE, code_hash


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "coded"
    (folder / "inner").mkdir(parents=True)
    for name, text in (("__init__.py", ""), ("a.py", "A = 1\n"), ("inner/facts.yaml", "x: 1\n"), ("note.txt", "n")):
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    code_hash.cache_clear()
    yield folder
    code_hash.cache_clear()


def hashed(*modules):
    code_hash.cache_clear()
    return code_hash(*modules)


def test_the_hash_follows_source_and_data_and_nothing_else(package):
    before = hashed("coded")
    assert hashed("coded") == before
    (package / "note.txt").write_text("other")
    assert hashed("coded") == before
    (package / "inner" / "facts.yaml").write_text("x: 2\n")
    data = hashed("coded")
    assert data != before
    single = hashed("coded.a")
    (package / "a.py").write_text("A = 2\n")
    assert hashed("coded") != data
    assert hashed("coded.a") != single


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"mllm_avqa\.gone"):
        code_hash("mllm_avqa.gone")


def test_hashing_the_code_of_windows_imports_none_of_it():
    code = (
        "import sys; from mllm_avqa.schema.files import WINDOW_CODE, code_hash; code_hash(*WINDOW_CODE); "
        "print([m for m in ('torch', 'cv2', 'av') if m in sys.modules])"
    )
    assert len(code_hash(*WINDOW_CODE)) == 16
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
