"""The user study: both figures by hand, the table of answers, the random system, the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

import pytest

from agent.cli import command
from agent.config.reading import UserError
from agent.offline.user_study import (
    RATER_SD,
    AnswerRow,
    Figure,
    confusion,
    domination,
    evaluate,
    read_answers,
    simulate_random,
    tabulate,
    tolerance,
)

HEADER = "tester,image,target,prediction,choice\n"


def answer(
    tester: str, image: str, target: float, prediction: float, choice: str, system: str = "network"
) -> AnswerRow:
    return AnswerRow(tester, image, system, target, prediction, choice)


def answers(tester: str, target: float, choices: Sequence[str]) -> list[AnswerRow]:
    return [
        answer(tester, f"{target}-{number}", target, 0.5, choice)
        for number, choice in enumerate(choices)
    ]


def results(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "results.csv"
    file.write_text(text, encoding=encoding)
    return file


@pytest.mark.parametrize(
    ("target", "prediction", "equivalent", "expected"),
    [
        (3, 1, 2, 1 - 2 / 6),  # Ñ = 6, 2P + E = 4
        (1, 3, 2, 1 - 2 / 6),  # Ñ = 6, 2P + E = 8
        (0, 0, 5, 1),
        (2, 2, 0, 1),
        (4, 0, 0, 0),
        (0, 4, 0, 0),
        (0, 0, 0, None),
    ],
)
def test_confusion_by_hand(
    target: int, prediction: int, equivalent: int, expected: float | None
) -> None:
    assert confusion(target, prediction, equivalent) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("target", "prediction", "expected"),
    [(3, 1, 0.25), (2, 2, 0.5), (0, 4, 1), (4, 0, 0), (0, 0, None)],
)
def test_domination_by_hand(target: int, prediction: int, expected: float | None) -> None:
    assert domination(target, prediction) == expected


@pytest.mark.parametrize(
    ("target", "place"),
    [(0, 0), (0.1999, 0), (0.2, 1), (0.4, 2), (0.6, 3), (0.7999, 3), (0.8, 4), (1, 4)],
)
def test_a_bin_has_its_lower_edge_and_the_last_has_one(target: float, place: int) -> None:
    rows = tabulate([answer("a", "x", target, 0.5, "equivalent")])
    assert [row.confusion.testers for row in rows] == [
        1 if number in (place, 5) else 0 for number in range(6)
    ]
    assert (rows[0].low, rows[4].high) == (0, 1) and (rows[5].low, rows[5].high) == (0, 1)


def test_figures_are_computed_for_each_tester_and_then_averaged() -> None:
    t, p, e, d = "target", "prediction", "equivalent", "discard"
    rows = tabulate(
        [
            *answers("a", 0.1, [t, t, t, p, e, e, d]),  # C = 2/3, D = 1/4
            *answers("b", 0.1, [p, p]),  # C = 0, D = 1
            *answers("c", 0.1, [e, e]),  # C = 1, no D
            *answers("d", 0.1, [d, d]),  # neither
            *answers("a", 0.9, [p, p]),  # a over all: T 3, P 3, E 2; C = 1, D = 1/2
        ]
    )
    low, top, everything = rows[0], rows[4], rows[5]
    assert low.confusion.mean == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert low.confusion.sd == pytest.approx(stdev([2 / 3, 0, 1]))
    assert low.confusion.testers == 3
    assert low.domination.mean == pytest.approx((1 / 4 + 1) / 2)
    assert low.domination.sd == pytest.approx(stdev([1 / 4, 1]))
    assert low.domination.testers == 2
    assert top.confusion == Figure(0, None, 1) and top.domination == Figure(1, None, 1)
    assert everything.confusion.mean == pytest.approx((1 + 0 + 1) / 3)
    assert everything.domination.mean == pytest.approx((1 / 2 + 1) / 2)
    assert rows[2].confusion == rows[2].domination == Figure(None, None, 0)


def test_results_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    file = results(
        tmp_path,
        "image, note ,tester,prediction,target,choice,system\r\n"
        ' x.tif ,"one, two", ann ,0.25,1, Equivalent ,\r\n'
        "\r\n"
        "x.tif,,ann,0.5,1,DISCARD,Random\r\n"
        ",,,,,,\r\n",
        encoding="utf-8-sig",
    )
    assert read_answers(file) == [
        answer("ann", "x.tif", 1, 0.25, "equivalent"),
        answer("ann", "x.tif", 1, 0.5, "discard", "random"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty", "accepted: a CSV", "tester, image, target, prediction, choice"]),
        (HEADER, ["no rows below the header"]),
        ("tester;image\na;b\n", ["line 1", "found columns tester;image", "accepted: a CSV"]),
        (
            "tester,image,target,prediction\na,x,0,1\n",
            ["line 1", "missing choice;", "accepted: a CSV"],
        ),
        (
            HEADER + "a,x,0.5,0.5,target\na,y,1.5,0.5,target\n",
            ["line 3", "target: found '1.5'", "accepted: a number from 0 to 1"],
        ),
        (HEADER + "a,x,0.5,nan,target\n", ["line 2", "prediction: found 'nan'", "from 0 to 1"]),
        (HEADER + 'a,x,"0,5",1,target\n', ["line 2", "target: found '0,5'", "from 0 to 1"]),
        (HEADER + "a,x,0,5,0,7,target\n", ["line 2", "7 values under 5 columns", "decimal point"]),
        (
            HEADER + "a,x,0.5,0.5,better\n",
            ["line 2", "choice: found 'better'", "target, prediction, equivalent, discard"],
        ),
        (HEADER + "a,x,0.5,0.5\n", ["line 2", "choice: found ''"]),
        (HEADER + " ,x,0.5,0.5,target\n", ["line 2", "tester: found nothing"]),
        (HEADER + "a,,0.5,0.5,target\n", ["line 2", "image: found nothing"]),
        (
            HEADER + "a,x,0.5,0.5,target\n\nb,x,0.5,0.5,target\na,x,0.5,0.6,discard\n",
            ["lines 2 and 5", "tester 'a'", "image 'x'", "system 'network'", "accepted: one"],
        ),
        (HEADER + 'a,x,0.5,0.5,"target\nb,x,0.5,0.5,target\n', ["line 3", "not a readable CSV"]),
    ],
)
def test_what_is_wrong_with_results_is_said(tmp_path: Path, text: str, words: list[str]) -> None:
    file = results(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_answers(file)
    for word in [str(file), *words]:
        assert word in str(error.value)


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; accepted: a CSV"):
        read_answers(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder; accepted: a CSV"):
        read_answers(tmp_path)
    with pytest.raises(UserError, match="not a readable CSV"):
        read_answers(results(tmp_path, HEADER, encoding="utf-16"))


def test_the_tolerance_is_what_separates_the_testers_answers_best() -> None:
    told = [(0.05, "equivalent"), (0.1, "equivalent"), (0.15, "equivalent"), (0.2, "target")]
    told += [(0.25, "prediction"), (0.3, "target"), (0.9, "discard")]
    study = [answer("a", f"{apart}", 0, apart, choice) for apart, choice in told]
    assert tolerance(study) == (0.15, 1)
    careless = [*study, answer("a", "slip", 0, 0.8, "equivalent")]
    assert tolerance(careless) == (0.15, 6 / 7)


def test_without_a_larger_difference_called_equivalent_it_is_a_raters_sd() -> None:
    assert tolerance([answer("a", "x", 0.5, 0.5, "equivalent")]) == (RATER_SD, 1)
    assert tolerance([answer("a", "x", 0.5, 0.9, "target")]) == (RATER_SD, 1)
    assert tolerance([answer("a", "x", 0.5, 0.9, "discard")]) == (RATER_SD, None)


def perfect() -> list[AnswerRow]:
    return [
        answer(tester, f"{number}", number / 20, number / 20, "equivalent")
        for tester in "ab"
        for number in range(21)
    ]


@pytest.mark.slow
def test_the_simulated_random_system_can_be_told_apart_and_is_reproducible() -> None:
    study = evaluate(perfect(), seed=1)
    assert study == evaluate(perfect(), seed=1) != evaluate(perfect(), seed=2)
    network, random = study.systems
    assert (network.system, network.simulated) == ("network", False)
    assert (random.system, random.simulated) == ("random", True)
    assert network.rows[-1].confusion == Figure(1, 0, 2)
    # Within 0.08 of a target are itself and one neighbour on each side, of 21 scores.
    assert random.rows[-1].confusion.mean == pytest.approx(61 / 21 / 21, abs=0.01)
    assert random.rows[-1].confusion.testers == 2
    assert random.rows[-1].domination == Figure(0, 0, 2)


def test_a_simulated_tester_discards_what_the_tester_discarded() -> None:
    study = [
        answer("a", "x", 0.1, 0.1, "equivalent"),
        answer("a", "y", 0.9, 0.9, "discard"),
        answer("b", "y", 0.9, 0.5, "discard"),
    ]
    random = simulate_random(study, within=1, seed=1)
    assert (random.testers, random.answers) == (1, 1)
    assert random.rows[0].confusion == Figure(1, None, 1)
    assert random.rows[0].domination == random.rows[4].confusion == Figure(None, None, 0)


def test_a_real_random_system_comes_last_and_is_not_simulated() -> None:
    real = answer("a", "0", 0, 0.9, "target", system="random")
    study = evaluate([real, *perfect()], seed=1)
    assert study.simulation is None
    assert [(each.system, each.simulated) for each in study.systems] == [
        ("network", False),
        ("random", False),
    ]
    assert study.systems[1].rows[0].confusion == Figure(0, None, 1)


def stedfast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["stedfast", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        command()
    return int(left.value.code or 0), *capsys.readouterr()


def test_the_command_prints_both_tables_and_says_what_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = results(
        tmp_path,
        HEADER
        + "ann,1,0.1,0.5,target\nann,2,0.1,0.3,prediction\nann,3,0.15,0.2,equivalent\n"
        + "bob,1,0.1,0.5,target\nbob,2,0.1,0.3,target\nbob,4,0.9,0.9,equivalent\n"
        + "bob,5,0.5,0.9,discard\n",
    )
    code, out, err = stedfast(monkeypatch, capsys, "study", file)
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("Confusion")
    assert lines[1] == "target network random (simulated)"
    assert lines[2].startswith("0–20 % 0.50 ± 0.71 (n = 2) 0.")
    assert lines[3:5] == ["20–40 % – –", "40–60 % – –"]
    assert lines[6].startswith("80–100 % 1.00 ± – (n = 1) 0.")
    assert lines[7].startswith("all 0.67 ± 0.47 (n = 2) 0.")
    assert lines[9].startswith("Domination")
    assert lines[11].startswith("0–20 % 0.25 ± 0.35 (n = 2) 0.00 ± ")
    assert lines[15].startswith("80–100 % – 0.00 ± – (n = 1)")
    assert "network: testers 2, answers 7, of these discarded 1" in out
    assert "no tester was asked" in out and "200 draws (seed 1)" in out and "0.08" in out
    assert "nan" not in out.lower() and "None" not in out


def test_the_command_gives_the_same_figures_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = results(tmp_path, HEADER + "a,x,0.1,0.5,target\na,y,0.1,0.3,discard\n")
    code, out, err = stedfast(monkeypatch, capsys, "study", file, "--json", "--seed", "3")
    assert code == 0, err
    study = json.loads(out)
    assert study["simulation"] == {"tolerance": 0.08, "agreement": 1, "draws": 200, "seed": 3}
    network, random = study["systems"]
    assert {key: network[key] for key in network if key != "rows"} == {
        "system": "network",
        "simulated": False,
        "testers": 1,
        "answers": 2,
        "discarded": 1,
    }
    assert network["rows"][0] == network["rows"][5] | {"high": 0.2}
    assert network["rows"][5] == {
        "low": 0,
        "high": 1,
        "confusion": {"mean": 0, "sd": None, "testers": 1},
        "domination": {"mean": 0, "sd": None, "testers": 1},
    }
    assert network["rows"][1]["confusion"] == {"mean": None, "sd": None, "testers": 0}
    assert random["simulated"] is True


def test_wrong_results_end_with_two_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = results(tmp_path, HEADER + "a,x,0.1,0.5,both\n")
    code, out, err = stedfast(monkeypatch, capsys, "study", file)
    assert (code, out) == (2, "")
    assert "results.csv, line 2: choice: found 'both'; accepted: target, prediction" in err
    assert "Traceback" not in err
