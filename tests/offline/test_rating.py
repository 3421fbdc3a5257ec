"""Rating by keyboard in a real browser, and the user study; what they write, and what lasts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from agent.config.reading import UserError
from agent.offline.rating.book import Book
from agent.offline.rating.images import Shown, comparisons, images_in
from agent.offline.user_study import read_answers
from models.quality.table import read_ratings
from tests.faulty import cli

pytest.importorskip("aiohttp")

from agent.offline.rating.site import RateSite
from agent.ui.web.access import Place
from agent.ui.web.server import Links
from tests.helpers.pages import ask, served
from tests.helpers.runs import until

SIZE_NM = 25.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty frames; the last two do not say their pixel size."""
    made = tmp_path / "frames"
    made.mkdir()
    chance = np.random.default_rng(1)
    for number in range(20):
        known: dict[str, Any] = {"resolution": (1e7 / SIZE_NM, 1e7 / SIZE_NM)}
        known |= {"resolutionunit": "CENTIMETER"}
        frame = chance.poisson(5 + 3 * number, (32, 40)).astype(np.uint16)
        more = known if number < 18 else {}
        tifffile.imwrite(made / f"secret-{number:02d}.tif", frame, **more)
    return made


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def nothing(words: str) -> None:
    raise AssertionError(words)


@contextmanager
def rating(
    folder: Path, shown: Sequence[Shown], tester: str = "Ana", seed: int = 1
) -> Iterator[tuple[Book, Links]]:
    book = Book(folder, folder, shown, tester, seed)
    with closing(book), served(RateSite(book, folder, Place(port=0), folder / "log")) as links:
        yield book, links


def at(page: Any, position: int) -> None:
    """Wait for the image at a position, from 0."""
    page.wait_for_selector(f'#image[data-position="{position}"]')
    page.wait_for_selector("#loading", state="hidden")


@pytest.mark.slow
def test_twenty_images_are_rated_by_keyboard_and_a_break_loses_nothing(
    folder: Path, page: Any
) -> None:
    shown = images_in(folder, None, nothing)
    scores = {}
    with rating(folder, shown) as (book, links):
        page.goto(links.control)
        assert "secret" not in page.content()
        for position in range(12):
            at(page, position)
            assert page.is_visible("#unknown") == (book.shown(position).pixel_size_nm is None)
            assert page.is_visible("#scale") == (book.shown(position).pixel_size_nm is not None)
            scores[book.order[position]] = score = round(0.05 * position + 0.13, 2)
            page.keyboard.type(f"{score:.2f}")
            assert page.inner_text("#score") == f"{score:.2f}"
            page.keyboard.press("Enter")
        at(page, 12)
        # What is on disk is there before the next image shows.
        assert len(rows(book.table)) == 12
        order = list(book.order)
    with rating(folder, shown) as (book, links):
        assert book.order == order and book.next() == 12
        page.goto("about:blank")
        page.goto(links.control)
        at(page, 12)
        page.keyboard.press("x")  # cannot judge it
        at(page, 13)
        page.keyboard.press("Backspace")
        at(page, 12)
        assert page.is_visible("#again")
        page.keyboard.type(".9")
        page.keyboard.press("Enter")
        scores[book.order[12]] = 0.9
        for position in range(13, 19):
            at(page, position)
            page.keyboard.type("0,5")
            page.keyboard.press("ArrowUp")
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
            scores[book.order[position]] = 0.56
        at(page, 19)
        page.keyboard.press("x")
        page.wait_for_selector("#over:not([hidden])")
    mine = {row["file"]: float(row["score"]) for row in rows(folder / "ratings_ana.csv")}
    assert mine == scores and len(mine) == 19
    found = read_ratings(folder / "ratings.csv")  # as `stedfast train quality` does
    assert {one.path.name: one.score for one in found} == scores
    sizes = {one.path.name: one.pixel_size_nm for one in found}
    assert all(size is None or size == pytest.approx(SIZE_NM) for size in sizes.values())
    journal = (folder / "ratings_ana.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(journal[0])
    assert (first["tester"], first["seed"], len(first["order"])) == ("Ana", 1, 20)
    assert len(journal) == 22, "each answer is a line of its own, the corrected one, too"


TYPED = {
    "0.7": 0.7,
    ".7": 0.7,
    "0,7": 0.7,
    ",7": 0.7,
    "1": 1.0,
    "1.0": 1.0,
    "1,0": 1.0,
    "1.": 1.0,
    "0": 0.0,
    "0.0": 0.0,
    "0.73": 0.73,
    "0,5": 0.5,
    "0.05": 0.05,
    "0.735": 0.735,
    "70 %": 0.7,
    "70%": 0.7,
    "7 %": 0.07,
    "73,5 %": 0.735,
    "100 %": 1.0,
    "0.30": 0.3,
}


@pytest.mark.slow
def test_what_is_typed_is_shown_and_what_is_shown_is_saved(folder: Path, page: Any) -> None:
    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        page.goto(links.control)
        for position, (typed, meant) in enumerate(TYPED.items()):
            at(page, position)
            page.keyboard.type(typed)
            assert float(page.inner_text("#score")) == meant, typed
            page.keyboard.press("Enter")
        page.wait_for_selector("#over:not([hidden])")
        saved = {row["file"]: float(row["score"]) for row in rows(book.table)}
        assert [saved[file] for file in book.order] == list(TYPED.values())


def test_what_is_no_score_is_not_guessed_at(folder: Path, page: Any) -> None:
    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        page.goto(links.control)
        at(page, 0)
        for typed in ("7", "73", "10", "1.01", "101 %", "0.7.3", "%", "."):
            page.keyboard.type(typed)
            assert page.inner_text("#score") == "–", typed
            page.keyboard.press("Enter")
            for _ in typed:
                page.keyboard.press("Backspace")
        assert page.inner_text("#typed") == "" and not book.answers
        page.keyboard.type("0.75")
        page.keyboard.press("Backspace")
        assert page.inner_text("#score") == "0.70"
        page.keyboard.press("Enter")
        at(page, 1)
        assert book.given(0) == 0.7


def test_what_is_typed_while_the_next_image_loads_is_of_that_image(folder: Path, page: Any) -> None:
    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        page.goto(links.control)
        at(page, 0)
        held: list[Any] = []
        page.route("**/api/image/1", lambda route: held.append(route))
        page.keyboard.type("0.2")
        page.keyboard.press("Enter")
        until(lambda: page.wait_for_timeout(10) or held)
        page.keyboard.type("1.3")
        page.keyboard.press("Backspace")
        page.keyboard.type("0")
        page.keyboard.press("Enter")  # nobody has seen the image yet
        held[0].continue_()
        at(page, 1)
        assert page.inner_text("#score") == "1.00" and book.given(1) is None
        page.keyboard.press("Enter")
        at(page, 2)
        assert (book.given(0), book.given(1)) == (0.2, 1.0)


def test_the_last_answers_are_taken_back(folder: Path, page: Any) -> None:
    shown = images_in(folder, 20.0, nothing)
    with rating(folder, shown) as (book, links):
        page.goto(links.control)
        at(page, 0)
        assert page.is_disabled("#undo")
        for position, score in enumerate((0.1, 0.2)):
            page.keyboard.type(str(score))
            page.keyboard.press("Enter")
            at(page, position + 1)
        page.keyboard.press("Backspace")
        at(page, 1)
        page.keyboard.type("0.9")
        page.keyboard.press("Enter")
        at(page, 2)
        page.keyboard.press("z")
        at(page, 1)
        assert page.inner_text("#score") == "0.20", "the answer before counts again"
        page.keyboard.press("Control+z")
        page.wait_for_selector("#again", state="hidden")
        assert page.inner_text("#score") == "–" and page.inner_text("#where") == "2 of 20"
        assert [float(row["score"]) for row in rows(book.table)] == [0.1]
    with closing(Book(folder, folder, shown, "Ana", 1)) as book:
        assert (book.given(0), book.next()) == (0.1, 1)
        assert book.undo() == 0 and not book.answers and rows(book.table) == []
        with pytest.raises(UserError, match="nothing is answered"):
            book.undo()


@pytest.mark.slow
def test_a_study_runs_through_twenty_choices(
    folder: Path, page: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder.parent / "scores.csv"
    lines = [f"secret-{n:02d}.tif,{0.04 * n:.2f},{0.9 - 0.04 * n:.2f}" for n in range(20)]
    table.write_text("image,target,prediction\n" + "\n".join(lines) + "\n", encoding="utf-8")
    keys = ["1", "2", "3", "x", "ArrowLeft", "ArrowRight"]
    with rating(folder, comparisons(folder, table, None), "Ben") as (book, links):
        page.goto(links.control)
        expected = {}
        for position in range(20):
            at(page, position)
            key = book.order[position]
            one, first = book.shown(position), book.first[book.order[position]]
            pair = [f"{one.target:.2f}", f"{one.prediction:.2f}"]
            pair = pair if first == "target" else pair[::-1]
            assert [page.inner_text("#first-score"), page.inner_text("#second-score")] == pair
            pressed = keys[position % len(keys)]
            second = "prediction" if first == "target" else "target"
            expected[key.split(" ")[1]] = {
                "1": first,
                "ArrowLeft": first,
                "2": second,
                "ArrowRight": second,
                "3": "equivalent",
                "x": "discard",
            }[pressed]
            page.keyboard.press(pressed)
        page.wait_for_selector("#over:not([hidden])")
        assert set(book.first.values()) == {"target", "prediction"}
    answers = read_answers(folder / "study.csv")
    assert {one.image: one.choice for one in answers} == expected
    assert {one.tester for one in answers} == {"Ben"}
    code, out, _ = cli(capsys, "study", folder / "study.csv", "--json")
    assert code == 0 and json.loads(out)


def test_testers_have_their_own_orders_and_a_common_mean(folder: Path) -> None:
    shown = images_in(folder, 20.0, nothing)
    orders = {}
    for tester, score in (("Ana", 0.2), ("Ben Ö.", 0.4)):
        with closing(Book(folder, folder, shown, tester, 1)) as book:
            orders[tester] = list(book.order)
            assert sorted(book.order) == sorted(one.file for one in shown)
            book.answer(book.order.index("secret-03.tif"), score)
            with pytest.raises(UserError, match="in use"):
                Book(folder, folder, shown, tester, 1)
    assert orders["Ana"] != orders["Ben Ö."]
    (row,) = rows(folder / "ratings.csv")
    assert (row["file"], float(row["score"]), row["testers"]) == ("secret-03.tif", 0.3, "2")
    assert float(row["sd"]) == pytest.approx(0.1414, abs=1e-4)
    with closing(Book(folder.parent / "other", folder, shown, "Ana", 1)) as book:
        assert book.order == orders["Ana"], "the order hangs on seed and tester alone"
        book.answer(0, 0.5)
    assert read_ratings(folder.parent / "other" / "ratings.csv")[0].path.is_file()
    with closing(Book(folder.parent / "third", folder, shown, "Ana", 2)) as book:
        assert book.order != orders["Ana"]


def test_half_a_line_and_new_images_leave_the_answers_as_they_are(folder: Path) -> None:
    shown = images_in(folder, 20.0, nothing)
    with closing(Book(folder, folder, shown[:10], "Ana", 1)) as book:
        book.answer(0, 0.7)
        order = list(book.order)
    with (folder / "ratings_ana.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"answer": {"key": "secr')
    with closing(Book(folder, folder, shown, "Ana", 1)) as book:
        assert book.order[:10] == order and len(book.order) == 20
        assert book.given(0) == 0.7 and book.next() == 1
        book.answer(1, 0.1)
    with closing(Book(folder, folder, shown[:10], "Ana", 1)) as book:
        assert (book.given(0), book.given(1), book.next()) == (0.7, 0.1, 2)
    with pytest.raises(UserError, match="another name"):
        Book(folder, folder, shown, "ANA", 1)


@pytest.mark.parametrize("answer", [1.01, -0.1, True, None, "0.5", [], "first", float("nan")])
def test_what_is_no_score_is_refused_and_not_written(folder: Path, answer: Any) -> None:
    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        body = {"position": 0, "answer": answer}
        status, _, _ = ask(links, "/api/answer", method="POST", body=body)
        assert status in (400, 422)
        assert not book.answers and rows(book.table) == []


def test_requests_that_are_not_a_testers_are_refused(folder: Path) -> None:
    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        body = {"position": 0, "answer": 0.5}
        post = {"method": "POST", "body": body}
        assert ask(links, "/api/answer", **post, token="")[0] == 401
        assert ask(links.read, "/api/answer", **post)[0] == 403
        assert ask(links, "/api/answer", **post, headers={"Origin": "http://evil"})[0] == 403
        assert ask(links, "/api/image/20")[0] == 404
        assert ask(links, "/api/image/..%2fsecret-00.tif")[0] == 404
        assert ask(links, "/secret-00.tif")[0] == 404
        for position in (-1, 20, 1.5, True):
            wrong = {"position": position, "answer": 0.5}
            assert ask(links, "/api/answer", method="POST", body=wrong)[0] == 400
        assert not book.answers
        status, state, _ = ask(links, "/api/rate")
        assert status == 200 and "secret" not in json.dumps(state)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image,target\na.tif,1\n", ["found columns image, target", "prediction"]),
        ("image,target,prediction\n", ["no rows"]),
        ("image,target,prediction\nb.tif,0.1,0.2\n", ["line 2", "'b.tif'"]),
        ("image,target,prediction\n../a.tif,0.1,0.2\n", ["line 2", "'../a.tif'"]),
        ("image,target,prediction\nsecret-00.tif,1.1,0.2\n", ["line 2", "target: found '1.1'"]),
        ("image,target,prediction\nsecret-00.tif,1,\n", ["line 2", "prediction: found ''"]),
        (
            "image,target,prediction\nsecret-00.tif,1,0\nsecret-00.tif,1,0\n",
            ["line 3", "stands there twice"],
        ),
    ],
)
def test_a_table_of_scores_that_cannot_be_used(folder: Path, text: str, named: list[str]) -> None:
    table = folder / "scores.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        comparisons(folder, table, None)
    assert all(words in str(refused.value) for words in named), refused.value


def test_what_cannot_be_shown_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tifffile.imwrite(folder / "stack.tif", np.zeros((5, 32, 32), np.uint16))
    (folder / "broken.tif").write_bytes(b"II*\x00nonsense")
    said: list[str] = []
    assert len(images_in(folder, None, said.append)) == 20
    assert any("stack.tif: found 5 frames" in line for line in said) and len(said) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        ((empty,), "holds no grey image"),
        ((tmp_path / "absent",), "no such folder"),
        ((folder, "--study", tmp_path / "no.csv"), "no such file"),
        ((folder, "--tester", "  "), "--tester"),
        ((folder, "--pixel-size", "-3"), "--pixel-size"),
    ):
        code, _, err = cli(capsys, "rate", *map(str, arguments))
        assert code == 2 and words in err, err


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_answer_does_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, page: Any
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with rating(folder, images_in(folder, 20.0, nothing)) as (book, links):
        page.goto(links.control)
        at(page, 0)
        monkeypatch.setattr("agent.offline.rating.book.os.fsync", full)
        page.keyboard.type("0.5")
        page.keyboard.press("Enter")
        page.wait_for_selector("#problem:has-text('No space left')")
        assert page.inner_text("#where") == "1 of 20"
        assert not book.answers
        monkeypatch.undo()
        page.keyboard.press("Enter")
        at(page, 1)
        until(lambda: len(rows(book.table)) == 1)
