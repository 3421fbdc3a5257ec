"""Calls into Imspector: one that hangs costs its limit, and those behind it are made."""

from __future__ import annotations

import threading

import pytest

from devices.imspector.calls import Calls, NoReply


def test_a_call_behind_one_that_hangs_is_made() -> None:
    calls, free = Calls(0.3), threading.Event()
    begun = threading.Event()
    answers: list[str] = []

    def hang() -> None:
        begun.set()
        free.wait(20)

    def first() -> None:
        with pytest.raises(NoReply, match=r"did not answer within 0\.3 s: the first"):
            calls("the first", hang)

    def second() -> None:
        answers.append(calls("the second", lambda: "dark", limit_s=20))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(240)
    threads[1].start()
    for thread in threads:
        thread.join(240)
    assert answers == ["dark"] and calls("the third", lambda: "still") == "still"
    free.set()


def test_a_call_that_nobody_waits_for_any_longer_is_not_begun() -> None:
    calls, free = Calls(20), threading.Event()
    begun, made = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        free.wait(20)

    thread = threading.Thread(target=calls, args=("the first", hang))
    thread.start()
    assert begun.wait(240)
    with pytest.raises(NoReply):
        calls("start", made.set, limit_s=0.05)
    free.set()
    thread.join(240)
    assert calls("behind it", lambda: 1) == 1 and not made.is_set()
