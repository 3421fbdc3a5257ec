"""What open pages cost: they take turns, hidden ones rest, and nothing is drawn for nothing."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.bench.slowed import processor_s, slowed
from agent.ui.view.turns import Pace
from tests.helpers.pages import ask, run_pages
from tests.helpers.runs import Work, in_some_try, posix, until


def test_a_page_alone_has_five_turns_a_second_and_several_have_two_together() -> None:
    pace = Pace()
    assert pace.rest_s("a", 0.004, 0.0) == 0.2
    assert 0.2 < pace.rest_s("a", 0.02, 0.2) < 1.0
    assert pace.rest_s("a", 5.0, 0.4) == 1.0, "a slow page is not stale"
    rests = [pace.rest_s(page, 0.0, 1.0) for page in "abc"]
    assert sum(1 / pace.rest_s(page, 0.0, 2.0) for page in "abc") == 2.0, rests
    # One that has not asked for a while is closed or hidden.
    assert pace.rest_s("b", 0.0, 10.0) == 0.2
    # Whoever makes up pages makes nobody else's stale.
    for number in range(10_000):
        pace.rest_s(str(number), 0.0, 11.0)
    assert pace.rest_s("a", 0.0, 11.0) == 3.0


@pytest.mark.slow
def test_pages_share_turns_and_what_is_urgent_waits_for_none(tmp_path: Path) -> None:
    work = Work(tmp_path, live={"frames": None, "interval_s": 0.1})
    answers: list[tuple[int, float, dict[str, Any]]] = []
    over = threading.Event()

    def look(number: int) -> None:
        after = news = -1
        while not over.is_set():
            query = f"after={after}&news={news}&page={number:016x}&took=3"
            _, state, _ = ask(links, f"/api/state?{query}")
            after, news = state["version"], state["news"]
            answers.append((number, time.monotonic(), state))

    with run_pages(work.run) as (_, links):
        work.start()
        until(lambda: work.progress.frames > 0)
        pages = [threading.Thread(target=look, args=(number,)) for number in range(3)]
        for page in pages:
            page.start()
        time.sleep(2)
        began, before = time.monotonic(), len(answers)

        def calm() -> list[int]:
            return [number for number, *_ in answers[before:]]

        until(lambda: time.monotonic() - began > 3 and {*calm()} == {0, 1, 2})
        # Together they have two turns a second.
        assert len(calm()) <= 2.7 * (time.monotonic() - began), calm()

        def all_know(pause: bool) -> float:
            """Seconds until the last page knows it; alone, a turn would take it 1.5 s."""
            told, from_here = time.monotonic(), len(answers)
            work.tell(pause=pause)
            known: dict[int, float] = {}

            def know() -> bool:
                for number, at, state in answers[from_here:]:
                    if pause == (state["phase"] in ("pausing", "paused")):
                        known.setdefault(number, at - told)
                return len(known) == 3

            until(know)
            return max(known.values())

        in_some_try(lambda number: all_know(pause=number % 2 == 0) < 1.2)

        # Who does not say that it is a page, waits for nothing but news.
        def at_once(number: int) -> bool:
            asked = time.monotonic()
            ask(links, "/api/state?after=-1")
            return time.monotonic() - asked < 0.5

        in_some_try(at_once)
        over.set()
        work.tell(stop=True)
        for page in pages:
            page.join(20)
    assert work.ended().status == "stopped"


@pytest.mark.slow
def test_a_hidden_page_asks_for_nothing_and_catches_up_when_it_is_seen(
    tmp_path: Path, page: Any
) -> None:
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.covered === true });"
    )
    work = Work(tmp_path, live={"frames": None, "interval_s": 0.05}).start()
    with run_pages(work.run) as (_, links):
        page.goto(links.control)
        page.wait_for_selector("canvas[data-frame]")
        change = "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(f"window.covered = true; {change}")
        page.wait_for_timeout(500)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(1500)
        assert not asked
        before = int(page.get_attribute("canvas[data-frame]", "data-frame"))
        page.evaluate(f"window.covered = false; {change}")
        until(lambda: int(page.get_attribute("canvas[data-frame]", "data-frame")) > before + 20)
        work.tell(stop=True)
    assert work.ended().status == "stopped"


@pytest.mark.slow
def test_a_chart_is_drawn_again_when_it_visibly_changes_and_is_in_view(
    tmp_path: Path, page: Any
) -> None:
    work = Work(tmp_path, live={"frames": 6}).start()
    assert work.ended().status == "completed"
    told = {"version": 1, "acquired": 4000}

    def more(route: Any) -> None:
        state = route.fetch(url=route.request.url.partition("?")[0]).json()
        page.wait_for_timeout(200)
        told["version"] += 1
        route.fulfill(body=json.dumps({**state, **told}), content_type="application/json")

    charts: list[str] = []
    page.on("request", lambda one: charts.append(one.url) if "/api/chart/" in one.url else None)
    page.route("**/api/state*", more)
    page.set_viewport_size({"width": 1280, "height": 720})
    with run_pages(work.run) as (_, links):
        page.goto(links.control)
        page.wait_for_selector("#chart svg")

        def asked(acquired: int) -> int:
            before = len(charts)
            told["acquired"] = acquired
            page.wait_for_timeout(2300)
            return len(charts) - before

        page.wait_for_timeout(500)
        assert asked(4002) == 0, "nobody could see the difference"
        with page.expect_request("**/api/chart/light"):
            told["acquired"] = 4100
        page.set_viewport_size({"width": 400, "height": 500})
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(300)
        assert asked(5000) == 0, "it is out of view"
        with page.expect_request("**/api/chart/light"):
            page.evaluate("document.querySelector('#tabs').scrollIntoView()")
        page.unroute_all(behavior="ignoreErrors")


def test_what_arrives_at_about_the_same_time_is_drawn_at_once(tmp_path: Path, page: Any) -> None:
    with run_pages(tmp_path) as (_, links):
        page.goto(links.control.partition("#")[0])
        script = """async () => {
            const { together } = await import("/together.js");
            const began = performance.now();
            const after = async (ms) => {
                await together(new Promise((done) => setTimeout(done, ms)));
                return performance.now() - began;
            };
            return Promise.all([after(20), after(120), after(900)]);
        }"""

        def drawn_at_once(number: int) -> bool:
            first, second, late = page.evaluate(script)
            assert first > 240 and late >= 899
            # What takes too long is not waited for.
            return bool(first < 700 and second - first < 20)

        in_some_try(drawn_at_once)


@pytest.mark.slow
@posix
def test_a_slowed_page_is_slow_and_takes_no_processor_for_it(page: Any) -> None:
    spin = "for (const end = performance.now() + 4000; performance.now() < end;);"
    browser = page.context.browser
    with slowed(page, 20):
        began, before = time.monotonic(), processor_s(browser)
        page.evaluate(spin)
        took, after = time.monotonic() - began, processor_s(browser)
    drawing = [pid for pid, (kind, _) in before.items() if kind == "renderer" and pid in after]
    busy = sum(after[pid][1] - before[pid][1] for pid in drawing)
    # What it has too much of at first, on a busy machine, it has to wait for afterwards.
    assert took >= 4 and busy < 0.3 * took
    assert page.evaluate("1 + 1") == 2, "it goes on"
