"""The walls of the house, as docs/DESIGN.md states them: who may import whom, and who alone may call what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "mllm_avqa": {"mllm_avqa"},
    "data_recipes": {"data_recipes", "mllm_avqa"},
    "train": {"train", "mllm_avqa"},
    "eval": {"eval", "mllm_avqa"},
}
# Rooms of the library, each may import those before it
ORDER = (
    "schema", "bases", "media", "evidence", "context", "model", "windows", "corridor", "rater",
    "report", "batch", "scale", "serving", "doctor", "cli_support", "pipeline", "cli", "__main__",
)  # fmt: skip
TOP_FILES = 8
# Calls that stand in one file alone, whatever folder asks
ALONE = {
    "encode_prefix": "mllm_avqa/corridor.py",
    "pool_windows": "mllm_avqa/corridor.py",
    "make_views": "mllm_avqa/windows.py",
    "gather": "mllm_avqa/windows.py",
    "caption_measurements": "mllm_avqa/windows.py",
    "window_starts": "mllm_avqa/windows.py",
}


def sources(folder: str, root: Path = ROOT) -> dict[str, Path]:
    """Files by module name."""
    found = {}
    for f in sorted((root / folder).rglob("*.py")):
        parts = f.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = f
    return found


def imports(path: Path, modules: dict[str, Path] | None = None) -> Iterator[str]:
    """Modules that a file imports anywhere; a name of a package counts as the module of that name if there is one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for a in node.names:
                name = f"{node.module}.{a.name}"
                yield name if modules and name in modules else node.module


def circles(modules: dict[str, Path]) -> list[list[str]]:
    """Modules that need each other, imports within functions and for types included, by Tarjan's algorithm."""
    # A package's own door opens on demand (`__getattr__`): what it lends is not what it needs.
    graph = {
        m: sorted({i for i in imports(f, modules) if i in modules and i != m}) if "." in m else []
        for m, f in modules.items()
    }
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(m: str) -> None:
        number[m] = low[m] = len(number)
        stack.append(m)
        for n in graph[m]:
            if n not in number:
                visit(n)
                low[m] = min(low[m], low[n])
            elif n in stack:
                low[m] = min(low[m], number[n])
        if low[m] == number[m]:
            part = stack[stack.index(m) :]
            del stack[-len(part) :]
            if len(part) > 1:
                found.append(sorted(part))

    for m in graph:
        if m not in number:
            visit(m)
    return found


def upward(modules: dict[str, Path]) -> list[str]:
    """Imports from a room of the library to a later one."""

    def floor(module: str) -> int | None:
        parts = module.split(".")
        return ORDER.index(parts[1]) if len(parts) > 1 else None

    wrong = []
    for m, f in modules.items():
        for i in imports(f, modules):
            here, there = floor(m), floor(i) if i.startswith("mllm_avqa.") else None
            if here is not None and there is not None and there > here:
                wrong.append(f"{m} imports {i}")
    return wrong


def calls(path: Path) -> set[str]:
    """Names of the functions that a file calls; methods of objects are others."""
    nodes = [n.func for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    return {n.id for n in nodes if isinstance(n, ast.Name)}


def strangers(root: Path = ROOT) -> list[str]:
    """Calls of `ALONE` in any other file."""
    return [
        f"{f.relative_to(root)} calls {name}"
        for folder in MAY_IMPORT
        for f in sources(folder, root).values()
        for name in calls(f) & ALONE.keys()
        if f.relative_to(root).as_posix() != ALONE[name]
    ]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_inwards(folder):
    own = set(MAY_IMPORT) | {"benchmarks", "tests"}
    modules = sources(folder)
    assert modules
    wrong = [
        f"{f.relative_to(ROOT)} imports {m}"
        for f in modules.values()
        for m in imports(f)
        if m.split(".")[0] in own and m.split(".")[0] not in MAY_IMPORT[folder]
    ]
    assert not wrong


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_no_module_needs_one_that_needs_it(folder):
    assert circles(sources(folder)) == []


def test_rooms_of_the_library_import_only_those_before_them():
    assert upward(sources("mllm_avqa")) == []


def test_few_files_stand_at_the_top_of_the_library():
    assert len(list((ROOT / "mllm_avqa").glob("*.py"))) <= TOP_FILES


def test_one_way_to_windows_and_one_to_scores():
    assert strangers() == []


def homonyms(root: Path = ROOT) -> dict[str, list[str]]:
    """Names of classes that several files give."""
    found: dict[str, list[str]] = {}
    for folder in (*MAY_IMPORT, "benchmarks"):
        for f in sources(folder, root).values():
            for node in ast.parse(f.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(f.relative_to(root).as_posix())
    return {name: files for name, files in found.items() if len(files) > 1}


def family_questions(root: Path = ROOT) -> list[str]:
    """Places outside the backbones that spell a family's name or ask for it."""
    families = {p.stem for p in (ROOT / "mllm_avqa/model/backbones").iterdir() if p.stem in _families()}
    asked = []
    for folder in ("mllm_avqa", "train", "eval"):
        for f in sources(folder, root).values():
            if "backbones" in f.parts or "nano" in f.parts:
                continue
            for node in ast.walk(ast.parse(f.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare) and any(
                    isinstance(c, ast.Constant) and c.value in families for c in (node.left, *node.comparators)
                ):
                    asked.append(f"{f.relative_to(root)} asks for a family")
    return asked


def _families() -> tuple[str, ...]:
    from mllm_avqa.model.backbones import FAMILIES

    return FAMILIES


def claims_readers(root: Path = ROOT) -> list[str]:
    """Files beside the reader of claims that open its words."""
    return [
        f.relative_to(root).as_posix()
        for folder in MAY_IMPORT
        for f in sources(folder, root).values()
        if 'load_prompts("claims"' in f.read_text(encoding="utf-8")
        and f.relative_to(root).as_posix() != "mllm_avqa/model/claims.py"
    ]


def test_a_name_has_one_meaning():
    assert homonyms() == {}


def test_nobody_asks_a_backbone_for_its_name():
    assert family_questions() == []


def test_claims_have_one_reader():
    assert claims_readers() == []


def test_lines_planted_to_break_the_rules_are_seen(tmp_path):
    for folder in MAY_IMPORT:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    here = tmp_path / "mllm_avqa"
    (here / "windows.py").write_text("def f():\n    from mllm_avqa import corridor\n")
    (here / "corridor.py").write_text("from mllm_avqa.windows import f\n\npool_windows(encode_prefix(1))\n")
    (tmp_path / "train" / "own.py").write_text("encode_prefix(1)\ngather()\nx.gather()\n")
    (tmp_path / "benchmarks").mkdir()
    (here / "one.py").write_text("class Row: ...\n")
    (tmp_path / "eval" / "two.py").write_text(
        'class Row: ...\nif kind == "qwen2_5_omni":\n    load_prompts("claims", "en")\n'
    )
    modules = sources("mllm_avqa", tmp_path)
    assert circles(modules) == [["mllm_avqa.corridor", "mllm_avqa.windows"]]
    assert upward(modules) == ["mllm_avqa.windows imports mllm_avqa.corridor"]
    assert sorted(strangers(tmp_path)) == ["train/own.py calls encode_prefix", "train/own.py calls gather"]
    assert homonyms(tmp_path) == {"Row": ["mllm_avqa/one.py", "eval/two.py"]}
    assert family_questions(tmp_path) == ["eval/two.py asks for a family"]
    assert claims_readers(tmp_path) == ["eval/two.py"]


def test_importing_the_package_is_light():
    import subprocess
    import sys

    heavy = ("torch", "transformers", "cv2")
    code = f"import sys, mllm_avqa, mllm_avqa.media; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
