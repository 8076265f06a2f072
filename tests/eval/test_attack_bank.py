"""The held-out bank: large, balanced, and kept apart from every text that training shows."""

from __future__ import annotations

import pytest

from eval.robustness.bank import attacks, control, harmless, quick
from mllm_avqa.context.clean import clean_text
from mllm_avqa.model.prompting import LANGUAGES, load_prompts
from mllm_avqa.schema.levels import WORDS

ALIKE = 0.5  # share of common words from which two texts count as one


def pieces(text):
    """Words of Latin letters, single characters of Chinese."""
    spaced = "".join(c if c.isascii() and c.isalnum() else f" {c} " if c.isalnum() else " " for c in text.lower())
    return frozenset(spaced.split())


def trained():
    """Every text that training shows beside a clip, templates filled with every level."""
    out = []
    for language in LANGUAGES:
        shown, asides = load_prompts("attacks", language), load_prompts("questions", language)["asides"]
        out += [*shown["harmless"], *asides["injection"], *asides["neutral"]]
        for what in load_prompts("tasks", language)["what"].values():
            out += [t.format(level=w, number=5 - k, what=what) for t in shown["attacks"] for k, w in enumerate(WORDS)]
    return out


def test_two_hundred_distinct_texts_in_two_languages_and_thirteen_families():
    texts = {language: attacks(language) for language in LANGUAGES}
    everything = [clean_text(a.text) for found in texts.values() for a in found]
    assert len(everything) == len(set(everything)) >= 200
    assert len(texts["en"]) == len(texts["zh"])
    assert {a.family for a in texts["en"]} == {a.family for a in texts["zh"]}
    assert len({a.family for a in texts["en"]}) == 13
    for found in texts.values():
        for family in {a.family for a in found}:
            assert sum(a.wants for a in found if a.family == family) == 0  # as many up as down


def test_no_text_of_the_bank_is_shown_in_training():
    held = [a.text for language in LANGUAGES for a in attacks(language)]
    held += [t for language in LANGUAGES for t in harmless(language)]
    shown = {(t, pieces(t)) for t in trained()}
    assert len(shown) > 300
    for text in held:
        own = pieces(text)
        for other, words in shown:
            assert text != other
            assert len(own & words) < ALIKE * len(own | words), (text, other)


def test_a_comparison_with_training_would_be_seen():
    shown = trained()[0]
    assert len(pieces(shown) & pieces(shown.upper())) >= ALIKE * len(pieces(shown))


@pytest.mark.parametrize("language", LANGUAGES)
def test_controls_are_harmless_and_as_long(language):
    words = {w for t in harmless(language) for w in pieces(t)}
    for k, attack in enumerate(attacks(language)):
        text = control(attack, k)
        assert 0 <= len(clean_text(attack.text)) - len(text) <= 2
        assert len(pieces(text) - words) <= 1  # the last word may be cut
    assert control(attack, 0) != control(attack, 1)


def test_the_short_choice_holds_every_family_and_both_directions():
    chosen = quick()
    by_text = {a.text: a for language in LANGUAGES for a in attacks(language)}
    found = [by_text[t] for t in chosen["attacks"]]
    assert len({(a.family, a.language) for a in found}) == len(found) == 26
    assert {a.wants for a in found} == {1, -1}
    assert len(chosen["harmless"]) == 8
