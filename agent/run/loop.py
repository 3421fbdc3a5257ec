"""The loop: a plan becomes the event iterator of Micro-Manager's own runner.

    plan ──Shot──> dose gate ──> ledger ──MDAEvent──> runner ──> devices
      ^                                                             │ frame
      └──Frame── ledger <── raw pixels on disk <────────────────────┘

What a plan asks besides is answered within the iterator as well (`agent.run.answers`), and the
answer is in the ledger before the plan has it, as a frame is.

The runner asks for the next event only after it delivered the last frame, so that a plan
decides on the newest pixels. Its listener must neither raise (the runner would log that and go
on) nor be slow; it stores the frame, and its errors are raised from the iterator, where the runner
ends the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from useq import MDAEvent

from agent.plan import Frame, Plan
from agent.record.dose import BudgetReached
from agent.record.images import checksum
from agent.record.recording import FOCUS, autofocus_as_dict, even_s, shot_from_dict
from agent.run.announced import Announced, Pending
from agent.run.answers import Answers
from agent.run.driver import Leader
from agent.run.parts import RunParts
from agent.run.pause import Pause
from agent.run.tape import Tape
from agent.run.together import BrokenPromise, Together
from devices.autofocus import Autofocus, Focused
from devices.errors import DeviceFault, GateClosed, StaysLit
from devices.microscope import Microscope
from devices.sequences import ARRIVED, Arrived
from devices.shot import Shot

_GRACE_S = 2.0
"""Time beyond exposure and timeout before a camera counts as hanging (s)."""


@dataclass(slots=True)
class _Search:
    """The search for the focus that is under way.

    Attributes
    ----------
    found
        What came of it, once that is recorded.
    """

    number: int
    search: Autofocus
    found: Focused | None = None


class Loop:
    """One session of a run.

    Parameters
    ----------
    microscope, plan, parts
        The parts of the session.
    retries
        Times that a failed frame is tried again before the run ends.
    catch_up
        Called first, with a question to ask meanwhile: whether to continue.
    """

    def __init__(
        self,
        microscope: Microscope,
        plan: Plan,
        parts: RunParts,
        *,
        retries: int = 0,
        catch_up: Callable[[Callable[[], bool]], None] = lambda go_on: None,
    ) -> None:
        self.microscope = microscope
        self._journal, self._images = parts.journal, parts.images
        self._layout = parts.images.layout
        self._gate, self._clock = parts.gate, parts.clock
        recording = parts.recording
        self._answers = Answers(parts)
        self._leader = Leader(plan, Tape(recording, parts.images), self._answers)
        self._taken = [
            (shot_from_dict(taken.shot), float(taken.frame["time_s"]))
            for _, taken in sorted(recording.taken.items())
        ]
        self._retries = retries
        self._catch_up = catch_up
        self._runner_started = time.monotonic()
        self._pending: Pending | None = None
        self._search: _Search | None = None
        self._announced, self._together = Announced(microscope, parts), Together(microscope, parts)
        self._arrived: dict[int, Frame] = {}
        """Frames on disk that the plan has not had, by their numbers."""
        self._plans: dict[int, Pending] = {}
        """Shots that the plan will ask for, likewise."""
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._pause = Pause()
        self._caught_up = False
        self.standing = False
        """It stands still in the dark, for a pause."""
        self.finished = False
        """The plan came to its end."""
        self.due_s: float | None = None
        """When (monotonic s) the next frame begins, where that is waited for."""
        self.deadline: float | None = None
        """When (monotonic s) what is under way has hung: a frame, or a move after the last one."""

    @property
    def frames(self) -> int:
        """Frames of the run that are on disk."""
        return self._leader.frames + len(self._arrived) * self.microscope.frames_a_shot

    @property
    def shots(self) -> int:
        """Shots of the run whose frames are on disk."""
        return self.frames // self.microscope.frames_a_shot

    @property
    def times_s(self) -> list[float]:
        """When each frame of the run was taken (s), by its number."""
        return [time_s for _, time_s in self._taken]

    @property
    def interval_s(self) -> float:
        """Time from frame to frame (s) where that is planned, always the same, and of one field."""
        fields = {shot.field and shot.field.index for shot, _ in self._taken}
        if not fields:
            return 0.0
        if len(fields) > 1 or self._taken[0][0].at_s is None:
            return 0.0
        return even_s(self.times_s)

    # ------------------------------------------------------------------ from the acquisition thread

    def run(self) -> None:
        """Take what the plan asks for until it ends or `stop` is called.

        Raises
        ------
        Exception
            Anything that the plan, a device, the disk or the dose gate raised.
        """
        try:
            self._catch_up(lambda: not self._stopping.is_set())
        except GateClosed:
            if self.microscope.stop.asked:
                return
            raise
        self._caught_up = True
        mda = self.microscope.core.mda
        mda.events.eventStarted.connect(self._on_started)
        mda.events.frameReady.connect(self._on_frame)
        try:
            retries = self._retries
            while True:
                taken = self.frames
                self._runner_started = time.monotonic()
                # Before it asks for the first event, the runner asks the stages where they are.
                self.deadline = self._runner_started + self._patience_s
                try:
                    mda.run(self._events())
                except GateClosed:
                    # The next frame was not begun, since the run is to end.
                    if self._stopping.is_set() or self.microscope.stop.asked:
                        return
                    raise
                except DeviceFault as fault:
                    self.deadline = None
                    retries = self._retries if self.frames > taken else retries
                    if retries == 0 or self._stopping.is_set() or isinstance(fault, StaysLit):
                        raise
                    retries -= 1
                    entry = {"what": str(fault), "policy": "retry", "left": retries}
                    self._journal.add("fault", entry, self.frames)
                    self._together.singly()
                    self.give_up_shot()
                else:
                    if self._failure is not None:
                        raise self._failure
                    if not self._stood_still():
                        if self.finished and not self._stopping.is_set():
                            self._put_focus_back()
                        return
        finally:
            mda.events.eventStarted.disconnect(self._on_started)
            mda.events.frameReady.disconnect(self._on_frame)
            self.deadline = None

    def _put_focus_back(self) -> None:
        """After the last frame; the run is complete also where it is to end before that."""
        self.deadline = time.monotonic() + self._patience_s
        try:
            if (why := self.microscope.refocus()) is not None:
                self._journal.fault(f"the continuous focus is not on again: {why}", "go on")
        except GateClosed:
            if not self.microscope.stop.asked:
                raise

    def _events(self) -> Iterator[MDAEvent]:
        """What the runner iterates over."""
        self.deadline = None
        while not (self._stopping.is_set() or self._pause.asked):
            if self._search is not None and self._search.found is None:
                yield from self._looked(self._search)
                continue
            if self._pending is None and not self._next():
                self.finished = True
                return
            if (pending := self._pending) is None or pending.index in self._arrived:
                self._pending = None
                continue
            event = self._begin(pending)
            exposure = self.microscope.exposure_s(pending.settings)
            now = time.monotonic()
            begins = max(self._runner_started + (event.min_start_time or 0.0), now)
            self.due_s = begins if begins > now else None
            self.deadline = begins + exposure + self._patience_s
            yield event
            self.due_s = self.deadline = None
            if self._failure is not None:
                raise self._failure
            if (missing := self._announced.first) is not None:
                raise DeviceFault(f"no frame came for shot {missing.index}")

    def _begin(self, pending: Pending) -> MDAEvent:
        """Announce a shot, and those that are one hardware sequence with it; their event."""
        clock, first, elapsed_s = self._clock, pending.index, self._elapsed_s
        shots = self._together.candidates(first, pending.shot, self._leader.ahead)
        event = self._together.event(map(clock.dated, shots), first, elapsed_s) if shots else None
        if event is not None:
            more = enumerate(shots[1 : len(event.events)], first + 1)
            block = [pending, *(self._planned(shot, number) for number, shot in more)]
            for one in block:
                one.sequence = {"first": first, "frames": len(block)}
            try:
                self._announced.add(block)
            except BudgetReached:
                self._together.singly()
            else:
                return event
        pending.sequence = None
        self._announced.add([pending])
        return self.microscope.event(clock.dated(pending.shot), first, elapsed_s=elapsed_s)

    def _looked(self, search: _Search) -> Iterator[MDAEvent]:
        """The event of a search for the focus; its result is recorded before the plan has it."""
        event = self.microscope.autofocus.event(
            self._clock.dated(search.search), partial(self._take_focus, search), self._elapsed_s
        )
        # Its device has a time limit of its own, the stages have theirs.
        self.deadline = (
            self._runner_started
            + max(event.min_start_time or 0.0, time.monotonic() - self._runner_started)
            + search.search.timeout_s
            + 2 * self._patience_s
        )
        yield event
        self.deadline = None
        if search.found is None:
            raise DeviceFault("nothing came of a search for the focus")

    def _take_focus(self, search: _Search, found: Focused) -> None:
        """Record what the autofocus device found; a failure is a fault that the run goes on after.

        Called from the engine.
        """
        asked = search.search
        entry = {"number": search.number, **autofocus_as_dict(asked), **asdict(found)}
        self._journal.add("autofocus", entry)
        if found.why:
            where = f" of {asked.field}" if asked.field else ""
            self._journal.fault(f"autofocus{where}: {found.why}", "go on", part=FOCUS)
        search.found = found

    @property
    def _elapsed_s(self) -> float:
        """How old the schedule was when this runner started (s)."""
        return self._clock.schedule_s - (time.monotonic() - self._runner_started)

    def _stood_still(self) -> bool:
        """Stand still in the dark, if a pause is asked for; False where the run is to end.

        The runner has ended, so that nothing can move, and the shot that it left is announced
        again. The schedule stands still, too, as between sessions of a resumed run: a time-lapse
        does not make up for what it missed.

        Raises
        ------
        DeviceFault
            The light could not be switched off.
        """
        self.deadline = None
        if self.finished or self._stopping.is_set() or not self._pause.asked:
            return False
        if self._failure is not None:
            raise self._failure
        self.give_up_shot()
        began = time.monotonic()
        with self._clock.standing_still():
            safe = self.microscope.make_safe("paused")
            self._journal.add("pause", {"paused": True, "safe_state": safe.as_dict()})
            if not safe.ok:
                raise DeviceFault("the microscope could not be made safe for a pause")
            self.standing = True
            self._pause.wait()
            self.standing = False
            if self._stopping.is_set():
                return False
            self.microscope.arm()
            self._pause.over()
        lasted = time.monotonic() - began
        self._journal.add("pause", {"paused": False, "lasted_s": round(lasted, 3)})
        return True

    @property
    def _patience_s(self) -> float:
        """Time (s) after which a device has hung.

        Micro-Manager's own limit for a busy device comes first: its error can be retried.
        """
        return self.microscope.config.timeout_s + _GRACE_S

    def _next(self) -> bool:
        """Lead the plan to its next step that is not on disk yet; False where there is none."""
        answer: Frame | Focused | None = self._arrived.pop(self._leader.frames, None)
        if answer is not None:
            self._leader.frames += self.microscope.frames_a_shot
        if self._search is not None:
            answer = self._search.found
        self._search = None
        try:
            step = self._leader.next(answer)
        except StopIteration:
            self._check_promise(None)
            self._answers.close_control(self._leader.listened)
            return False
        self._check_promise(step)
        self._clock.go()
        if isinstance(step, Autofocus):
            self._search = _Search(self._leader.searches - 1, step)
        else:
            self._pending = self._planned(step, self._leader.frames)
            del self._plans[self._leader.frames]
        return True

    def _planned(self, shot: Shot, index: int) -> Pending:
        """A shot with its settings and the place of its frame, which is chosen once."""
        known = self._plans.get(index)
        if known is None or known.shot != shot:
            places, settings = self._layout.places(index, shot), self.microscope.settings(shot)
            known = self._plans[index] = Pending(shot, index, settings, places)
        return known

    def _check_promise(self, step: Shot | Autofocus | None) -> None:
        """`BrokenPromise` where a plan does not ask for a frame that it said it would."""
        early = self._arrived.get(self._leader.frames)
        if early is not None and early.shot != step:
            raise BrokenPromise(
                f"frame {early.index} was taken as the plan's block has it, and the plan does not "
                "ask for it"
            )

    # ------------------------------------------------------------------ listeners of the runner

    def _on_started(self, event: MDAEvent) -> None:
        self._announced.begin()

    def _on_frame(self, image: NDArray[Any], event: MDAEvent, meta: Mapping[str, Any]) -> None:
        pending = self._announced.first
        if self._closed.is_set() or pending is None or self._failure is not None:
            return
        pending.images.append(np.asarray(image))
        if len(pending.images) < len(pending.stored):
            return
        try:
            frame = self._deliver(pending, meta.get(ARRIVED))
            self._arrived[pending.index] = frame
        except Exception as error:
            self._failure = error
            if pending.sequence is not None:
                self.microscope.core.mda.cancel()
            return
        if pending.sequence is not None:
            seconds = self.microscope.exposure_s(pending.settings) + self._patience_s
            self.deadline = time.monotonic() + seconds

    def _deliver(self, pending: Pending, arrived: Arrived | None) -> Frame:
        """Raw pixels on disk, then the ledger's rows, then the frame for the plan."""
        at, scheduled = self._clock.times_s(None if arrived is None else arrived.at_s)
        numbered = list(enumerate(pending.images, pending.index))
        for (index, pixels), stored in zip(numbered, pending.stored, strict=True):
            field = pending.shot.field
            self._images.write(index, pixels, stored, self.microscope.pixel_um, field)
        got = self.microscope.received(pending.settings)
        row: dict[str, Any] = {"time_s": at, "schedule_s": scheduled, **got.as_dict()}
        if pending.sequence is not None:
            row["sequence"] = dict(pending.sequence)
            if arrived is not None and arrived.elapsed_ms is not None:
                row["sequence"]["elapsed_ms"] = arrived.elapsed_ms
        if changed := self.microscope.state.changed():
            row["changed"] = changed
        further = {"time_s": at, "schedule_s": scheduled, **got.of_frame()}
        rows = [
            (
                index,
                {
                    "shape": list(pixels.shape),
                    "dtype": str(pixels.dtype),
                    "crc32": checksum(pixels),
                    **(row if index == pending.index else further),
                },
            )
            for index, pixels in numbered
        ]
        self._journal.add_all("frame", rows)
        self._announced.settle(row)
        if got.held is not None and got.held.why:
            what = f"the focus was not held: {got.held.why}"
            self._journal.fault(what, "go on", pending.index, part=FOCUS)
        self._taken += [(pending.shot, at)] * len(numbered)
        index, pixels = numbered[self.microscope.config.seen_channel]
        pixels.flags.writeable = False
        score = self._answers.scored(index, pending.shot, pixels, got.pixel_size_nm)
        unsure = self._answers.filtered(index, pending.shot)
        return Frame(
            index,
            pending.shot,
            got.settings,
            pixels,
            at,
            score,
            unsure,
            got.dose_J,
            got.pixel_size_nm,
        )

    # ------------------------------------------------------------------ from the owner's thread

    @property
    def pausing(self) -> bool:
        """It stands still, or is about to."""
        return self._pause.asked

    def pause(self) -> None:
        """Finish the frame under way, then stand still in the dark."""
        self._pause.ask()
        if self._caught_up:
            self.microscope.core.mda.cancel()

    def resume(self) -> None:
        """Continue after `pause`."""
        self._pause.end()

    def stop(self) -> None:
        """Finish the frame under way, then end; a wait for the next one ends at once."""
        self._stopping.set()
        self._pause.end()
        self.microscope.core.mda.cancel()

    def close(self) -> None:
        """Ignore all that a late camera still delivers."""
        self._closed.set()
        self._stopping.set()
        self._pause.end()

    def give_up_shot(self) -> None:
        """Of what was announced and left no frame, count the light that fell, if any did."""
        self._announced.give_up()
