"""The wheel: all that runs without a checkout, and nothing else."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_takes_the_whole_package_and_its_words() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["mllm_avqa"], "force-include": {"prompts": "mllm_avqa/prompts"}}


def test_what_is_installed_from_a_checkout_allows_what_the_wheel_asks_for() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert set(PROJECT["project"]["dependencies"]) <= listed
    names = {line.split(">=")[0] for line in listed}
    known = {"4bit", "dnsmos", "youtube"}  # need a GPU, or are tried by hand
    for name, extra in PROJECT["project"]["optional-dependencies"].items():
        assert name in known or {e.split(">=")[0].split("[")[0] for e in extra} <= {n.split("[")[0] for n in names}
