"""Configs: what is refused and how it is named; the shipped ones are all readable."""

import itertools
from pathlib import Path

import pytest

from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import ConfigError
from train.config import ViewChanges, load_config
from train.config import read as read_config
from train.schooling.config import Schooling

CONFIGS = Path(__file__).parent.parent.parent / "train" / "configs"
SHIPPED = sorted(p for p in CONFIGS.rglob("*.yaml") if p.name not in ("avqa.yaml", "common.yaml"))
MINIMAL = "name: x\nrecords: r.jsonl\noutput: o\nstages: [{name: s, steps: 1}]\n"


def read(tmp_path, text, *overrides):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_config(path, list(overrides))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_a_shipped_config_is_read_and_opens_with_how_to_run_it(path):
    config = read_config(path, Schooling) if path.parent.name == "school" else load_config(path)
    assert config.init is None or "runs" in config.init.parts or (config.init / "avqa.yaml").is_file()
    head = path.read_text().split("\nname:")[0].split("\nextends:")[0]
    for word in ("# Run:", "# Hardware:", "# Result:"):
        assert word in head, word


@pytest.mark.parametrize("size", ["nano", "mini", "3b", "7b", "30b"])
def test_stages_of_a_size_start_where_the_one_before_ends(size):
    stages = [load_config(CONFIGS / size / f"stage{n}.yaml") for n in (1, 2, 3)]
    for before, after in itertools.pairwise(stages):
        assert after.init == before.output / before.stages[-1].name
    assert {c.name for c in stages} == {"mini" if size == "mini" else f"avqa-{size}"}  # one run folder, one card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("recods: r.jsonl", r"recods: .*did you mean 'records'"),
        (
            "stages: [{name: s, steps: 1, mixture: {stage_2: 1}}]",
            r"mixture\.stage_2: .*did you mean 'stage2'",
        ),
        ("stages: [{name: s, steps: 1, lora: {rr: 1}}]", r"did you mean 'r'"),
        ("stages: [{name: s, steps: 1, lora: {rank: 8}}]", r"rank: .*allowed here: r, alpha, dropout, experts, tokens"),
        ("stages: [{name: s, steps: 0}]", r"stages\.0\.steps: .*greater than 0"),
        ("stages: []", "stages"),
        ("stages: [{name: s, steps: 1}, {name: s, steps: 1}]", "two stages have one name"),
        ("stages: [{name: ../s, steps: 1}]", "name"),
        ("datasets: [{records: a.jsonl}]", "either `records`"),
        ("base: a", "give `init` as well"),
        ("{teacher: true, distil: {ratings: r}}", "two teachers"),
        ("stages: [{name: s, steps: 1, practice: {}}]", "needs `teacher: true`"),
        ("stages: [{name: s, steps: 1, tune: lora, parts: {}}]", r"parts\.llm: Field required"),
        ("distil: {ratings: r, share: 1.5}", "less than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path, change, message):
    import yaml

    data = yaml.safe_load(MINIMAL) | yaml.safe_load(change)
    with pytest.raises(ConfigError, match=message) as e:
        read(tmp_path, yaml.safe_dump(data))
    assert str(tmp_path / "c.yaml") in str(e.value)


def test_parts_that_no_adapter_can_hold_are_refused(tmp_path):
    full = "projectors: {tune: full}"
    parts = f"{{llm: {{tune: lora}}, vision: {{tune: full}}, audio: {{tune: frozen}}, {full}}}"
    with pytest.raises(ConfigError, match="vision can not be full beside llm as lora"):
        read(tmp_path, MINIMAL, f"stages.0.parts={parts}")
    with pytest.raises(ConfigError, match="projectors can be full or frozen"):
        read(
            tmp_path, MINIMAL, f"stages.0.parts={parts.replace('projectors: {tune: full}', 'projectors: {tune: lora}')}"
        )
    with pytest.raises(ConfigError, match="not both"):
        read(
            tmp_path, MINIMAL, f"stages.0.parts={parts.replace('{tune: full}', '{tune: frozen}')}", "stages.0.tune=lora"
        )


def test_extends_merges_mappings_and_replaces_lists(tmp_path):
    (tmp_path / "base.yaml").write_text(MINIMAL + "views: {segments: 2, window_seconds: 4}\n")
    config = read(tmp_path, "extends: base.yaml\nviews: {segments: 8}\nstages: [{name: t, steps: 3}]\n", "seed=7")
    assert config.views == ViewChanges(segments=8, window_seconds=4)
    assert [s.name for s in config.stages] == ["t"]
    assert config.seed == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: c.yaml", "extends itself"),
        ("extends: gone.yaml", r"gone\.yaml does not exist \(extends in"),
        ("- 1", "found list"),
        ("", "found NoneType"),
        ("a: [", "not YAML"),
    ],
)
def test_files_that_are_no_config(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("item", ["seed", "stages.3.steps=1", "seed.a=1", "seed=[", "sed=1"])
def test_overrides_that_fit_nowhere(tmp_path, item):
    with pytest.raises(ConfigError):
        read(tmp_path, MINIMAL, item)


def test_view_changes_keep_the_rest_and_must_fit_the_patch():
    spec = ViewSpec(segments=8, patch=28, global_pixels=28 * 28 * 9)
    assert ViewChanges(segments=2).over(spec) == spec.model_copy(update={"segments": 2})
    with pytest.raises(ConfigError, match="less than one patch"):
        ViewChanges(global_pixels=100).over(spec)


def test_short_forms_say_what_is_trained(tmp_path):
    def plan(*overrides):
        stage = read(tmp_path, MINIMAL, *overrides).stages[0].plan
        return [getattr(stage, p).tune for p in ("llm", "vision", "audio", "projectors")]

    assert plan() == ["full"] * 4
    assert plan("stages.0.tune=lora") == ["lora", "frozen", "frozen", "full"]
    assert plan("stages.0.freeze_towers=true") == ["full", "frozen", "frozen", "full"]
