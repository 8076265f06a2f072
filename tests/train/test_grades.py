"""Facts as grades: one word each in the text, and one token each in the tokenizer of a model that starts so."""

from __future__ import annotations

import pytest

from mllm_avqa.evidence import FACTS
from mllm_avqa.model.prompting import facts, grade, grade_words
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from train.config import Build, Config, Stage
from train.nano.tiny import Size
from train.start import fresh


def measured(name: str, value: float) -> Measurement:
    fact = FACTS[name]
    return Measurement(name=name, modality=fact.modality, value=value, unit=fact.unit, severity=fact.severity(value))


def test_grades_rise_towards_the_fault_and_end_in_its_severities():
    above = FACTS["hum"].above
    assert above is not None
    step = above[1] - above[0]
    values = [above[0] - step * k for k in (20, 5, 2, 0.5)]
    digits = [int(grade(measured("hum", v))) for v in values]
    assert digits == sorted(digits)
    assert digits[0] == 0
    assert digits[-1] == 9
    assert [grade(measured("hum", t)) for t in above] == list(SEVERITIES[1:])


def test_a_describing_fact_is_placed_in_its_usual_range():
    low, high = FACTS["treble"].usual or (0, 0)
    assert [grade(measured("treble", v)) for v in (low - 9, low, (low + high) / 2, high, high + 9)] == list("00599")


def test_the_line_names_every_measured_fact_once_and_in_order():
    line = facts([measured("blur", 0.1), measured("noise", 1e3), measured("hum", -90)], style="grades")
    assert line.split()[1].startswith("blur")
    assert "noise severe" in line
    assert line.count("hum") == 1


@pytest.mark.parametrize("style", ["grades", "values"])
def test_every_grade_is_one_token_where_grades_are_used(style):
    size = Size(vocab=700, llm=(32, 1), vision=(64, 1), audio=(64, 1), heads=2)
    config = Config(
        name="x", records="r.jsonl", output="o", facts=style, build=Build(size=size), stages=[Stage(name="s", steps=1)]
    )
    _, tokenizer, card = fresh(config, [])
    assert card.facts == style
    said = f"Facts:{grade_words()[3]}{grade_words()[-1]}"
    ids = tokenizer(said).input_ids
    assert tokenizer.decode(ids) == said
    alone = [len(tokenizer(w).input_ids) for w in grade_words()]
    assert (max(alone) == 1) == (style == "grades")
