"""Import directions between the top-level folders, as docs/DESIGN.md states them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "mllm_avqa": {"mllm_avqa"},
    "data_recipes": {"data_recipes", "mllm_avqa"},
    "train": {"train", "mllm_avqa"},
    "eval": {"eval", "mllm_avqa"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_inwards(folder):
    own = set(MAY_IMPORT) | {"benchmarks", "tests"}
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{f.relative_to(ROOT)} imports {m}"
        for f in files
        for m in imports(f)
        if m.split(".")[0] in own and m.split(".")[0] not in MAY_IMPORT[folder]
    ]
    assert not wrong


def test_importing_the_package_is_light():
    import subprocess
    import sys

    heavy = ("torch", "transformers", "cv2")
    code = f"import sys, mllm_avqa, mllm_avqa.media; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
