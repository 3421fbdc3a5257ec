"""One voice for what is refused."""

import re
from pathlib import Path

import pytest

import models.refusals
from agent.config.explaining import wanted
from devices.refusals import did_you_mean, refused, shortened, unknown


def test_a_value_is_named_with_what_is_accepted():
    assert refused(3, "true") == "found 3; accepted: true"
    assert refused(None, "a list") == "found nothing; accepted: a list"
    assert refused("stde", ["sted", "confocal"]) == (
        "found 'stde'; accepted: sted, confocal; did you mean 'sted'?"
    )
    assert refused("x", []) == "found 'x'; accepted: none"


def test_a_name_is_told_from_those_there_are():
    assert unknown("trails", ("trials", "seed")) == (
        "unknown key; accepted: trials, seed; did you mean `trials`?"
    )
    assert unknown("blue", ["red", "green"], "laser") == "unknown laser; accepted: red, green"
    assert did_you_mean("lop", ["loop", "gpu"], "") == "; did you mean loop?"
    assert did_you_mean(7, ["loop"]) == ""


@pytest.mark.parametrize("kind", ["a text", "a list", "a number"])
def test_a_value_is_no_longer_than_a_line_bears(kind):
    value = {"a text": "x" * 500, "a list": list(range(500)), "a number": 10**5000}[kind]
    assert len(shortened(value)) <= 60
    assert len(shortened(value, longest=20)) <= 20
    assert len(refused(value, "1 … 3")) < 100


def test_pydantic_has_the_same_voice():
    assert wanted("Input should be greater than 0") == "greater than 0"
    assert wanted("List should have at least 2 items after validation, not 1") == "at least 2 items"
    parsing = "Input should be a valid integer, unable to parse string as an integer"
    assert wanted(parsing) == "a valid integer"


def test_the_networks_have_the_same_voice():
    known = ["flow", "dain", "zs"]
    assert models.refusals.refused("flwo", known) == refused("flwo", known)
    assert models.refusals.refused(7, known) == refused(7, known)
    assert len(models.refusals.refused("x" * 500, known)) < 100


def test_no_sentence_says_it_another_way():
    rooms = [Path(__file__).parents[2] / room for room in ("agent", "devices", "models")]
    files = [file for room in rooms for file in room.rglob("*.py")]
    other = re.compile(r"""[;:,"'] ?accepted (?!: )[^"'\n]*\b(are|is) """)
    told = [file.name for file in files if other.search(file.read_text("utf-8"))]
    assert files and told == []
