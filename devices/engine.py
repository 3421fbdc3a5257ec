"""Micro-Manager's acquisition engine, with errors that end a run.

pymmcore-plus's engine turns a refused property, a stuck stage and a dead camera into logged
warnings and continues, so that a run whose camera died at frame 8 of 20 ends as completed. Here
each of them ends the run with its cause.

It also keeps the account of the light: settings are read back once they are set, and the time
that light is on the sample is measured. Where no shutter keeps it off between frames, everything
with a `safe` value is switched on for each frame alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from pymmcore_plus.core._sequencing import SequencedEvent
from pymmcore_plus.experimental.unicore import UniMMCore
from pymmcore_plus.mda import MDAEngine
from pymmcore_plus.mda._engine import ImagePayload
from pymmcore_plus.metadata import SummaryMetaV1
from useq import MDAEvent, MDASequence

from devices.cameras import Repeats, fetched
from devices.config import MicroscopeConfig, Value
from devices.errors import DeviceFault, LimitError, StaysLit
from devices.light import FRAME, LightMeter
from devices.safety import LightGate
from devices.sending import LOCKED, PATIENCE, ROI, SEARCH, STAGES, Sender
from devices.sequences import ARRIVED, TICK_S, Arrivals, HardwareSequence, Lit
from devices.values import same

if TYPE_CHECKING:
    from pymmcore_plus.mda._engine import EventPayloadGenerator


class StrictEngine(MDAEngine):
    """Executes single events, and sequences that it is given as such; every failure raises.

    Parameters
    ----------
    core
        The core whose devices are moved.
    config
        The settings and roles bound to them.
    guard
        Called with each event before any device is touched; raises for one that is not allowed.
    gate
        Every single device call passes it, so that nothing can switch a laser on or move a stage
        behind the back of a microscope that was made safe.

    Attributes
    ----------
    meter
        How long light was on the sample in the last event.
    sender
        What the devices have.
    triggered
        Device and property of what the camera changes by its triggers now.
    keep_focus
        Called for an event under a continuous focus with where the focus was last (µm); returns
        where the drive is to be sent, or None where the focus is held.
    """

    def __init__(
        self,
        core: UniMMCore,
        config: MicroscopeConfig,
        guard: Callable[[MDAEvent], None],
        gate: LightGate,
    ) -> None:
        # Moving the stage back after the run would expose nothing, but was not asked for.
        super().__init__(core, use_hardware_sequencing=False, restore_initial_state=False)
        self._guard = guard
        self._gate = gate
        self._settings = {**config.settings, **config.constant}
        self._constant = {name: one.start for name, one in config.constant.items()}
        self._bound = {s.address(): name for name, s in config.settings.items()}
        self._light = config.light
        self._channels = config.camera_channels or (core.getCameraDevice(),)
        self._repeats = Repeats(core)
        self._lit: dict[str, Value] = {}
        self._wanted: dict[str, Value] = {}
        self._sequence: HardwareSequence | None = None
        self._core = core
        self.triggered: set[tuple[str, str]] = set()
        self.meter = LightMeter()
        self.sender = Sender(core, config, gate)
        self.keep_focus: Callable[[float | None], float | None] = lambda z_um: z_um

    def setup_sequence(self, sequence: MDASequence) -> SummaryMetaV1 | None:
        """Ask the devices where they are.

        Raises
        ------
        DeviceFault
            One does not answer.
        """
        try:
            return super().setup_sequence(sequence)
        except Exception as error:
            raise DeviceFault(f"a device does not answer: {error}") from error

    def setup_event(self, event: MDAEvent) -> None:
        """Move stages and set properties, as far as they changed; wait, and read them back.

        Raises
        ------
        LimitError
            The event asks for something outside the configured ranges.
        DeviceFault
            A device refused, took something else, or was busy for too long.
        """
        together = event if isinstance(event, SequencedEvent) else None
        for one in together.events if together else (event,):
            self._guard(one)
        core, sender = self.mmcore, self.sender
        if SEARCH in event.metadata:
            for device, prop, value in event.properties or ():
                sender.put(device, prop, value)
            return
        wanted: dict[str, Value] = {}
        self.meter.begin()
        try:
            for device, prop, value in event.properties or ():
                if (name := self._bound.get((device, prop))) is None:
                    sender.put(device, prop, value)
                else:
                    wanted[name] = value
            stages, z_um = event.metadata.get(STAGES), event.z_pos
            if event.metadata.get(LOCKED):
                sender.move(event.x_pos, event.y_pos, None, stages)
                sender.wait()  # a lock may be lost on the way
                z_um = self.keep_focus(z_um)
            sender.move(event.x_pos, event.y_pos, z_um, stages)
            exposed = sender.expose(event.exposure)
            # Last: a laser's power is there before its emission is switched on.
            wanted |= self._constant
            self._lit = {}
            if not core.getShutterDevice():
                self._lit = {name: wanted.pop(name) for name in self._light if name in wanted}
            sent = sender.send(wanted)
            sender.crop(event.metadata.get(ROI))
            sender.wait()
            sender.verify_position()
            sender.verify(wanted, sent, exposed=exposed)
            self._wanted = dict(wanted)
            if together is not None:
                for at in together.property_sequences:
                    sender.let_go(name := self._bound[at])
                    del self._wanted[name]
                self._load(together)
        except (DeviceFault, LimitError):
            sender.forget()
            raise
        except Exception as error:
            sender.forget()
            raise DeviceFault(
                f"a device is not ready: {error}; `timeout_s` says how long it may take"
            ) from error

    def _load(self, event: SequencedEvent) -> None:
        """Have the devices wait for the camera's triggers; or none of them, if that fails."""
        sequence = HardwareSequence(self._core, event, self._gate, self.triggered)
        try:
            sequence.load()
            self.sender.wait()
        except BaseException:
            sequence.stop()
            raise
        self._sequence = sequence

    def exec_event(self, event: MDAEvent) -> Iterator[Any]:
        """Take a frame, or have the autofocus device look for the focus.

        Raises
        ------
        DeviceFault
            As of `exec_single_event`; of a search, only if nothing may move or light stays on.
        """
        if (search := event.metadata.get(SEARCH)) is not None:
            search()
        else:
            yield from super().exec_event(event)

    def exec_single_event(self, event: MDAEvent) -> Iterator[Any]:
        """Take one frame of each camera channel, with light on the sample no longer than that.

        Raises
        ------
        DeviceFault
            The camera delivered none, or the light could not be switched.
        """
        core = self.mmcore
        try:
            with self._shuttered() if core.getShutterDevice() else self._switched():
                core.snapImage()
            images = fetched(core)
            self._repeats.check(images)
        except DeviceFault:
            self.sender.forget()
            raise
        except Exception as error:
            self.sender.forget()
            raise DeviceFault(f"camera {core.getCameraDevice()!r} failed: {error}") from error
        started = event.metadata.get("runner_t0") or time.perf_counter()
        taken_ms = (time.perf_counter() - started) * 1000
        if len(images) != len(self._channels):
            self.sender.forget()
            raise DeviceFault(
                f"camera {core.getCameraDevice()!r} gave {len(images)} frames, not "
                f"{len(self._channels)} as on opening ({', '.join(self._channels)})"
            )
        for at, (name, image) in enumerate(zip(self._channels, images, strict=True)):
            of = event
            if len(images) > 1:
                # As Micro-Manager's own engine tells them apart.
                of = event.model_copy(update={"index": {**event.index, "cam": at}})
            meta = self.get_frame_metadata(
                of, runner_time_ms=taken_ms, include_position=False, camera_device=name
            )
            yield ImagePayload(image, of, meta)

    def exec_sequenced_event(self, event: SequencedEvent) -> EventPayloadGenerator:
        """Take the frames of a hardware sequence, with light on the sample until the last one.

        Frames are stored while others are taken; the light does not wait for that.

        Raises
        ------
        DeviceFault
            The camera did not deliver all of them, a setting is another one afterwards, or the
            light could not be switched.
        """
        core, sequence = self.mmcore, self._sequence
        assert sequence is not None
        light = Lit(
            self._shuttered() if core.getShutterDevice() else self._switched(), sequence.over
        )
        try:
            with sequence, light:
                sequence.start()
                light.start()
                yield from self._sequence_frames(event, sequence, light)
            if not self._gate.stop.asked:
                self.sender.check(self._wanted)
        except DeviceFault:
            self.sender.forget()
            raise
        except Exception as error:
            self.sender.forget()
            raise DeviceFault(f"camera {core.getCameraDevice()!r} failed: {error}") from error
        finally:
            self._sequence = None
            # Some drives go back to the first position behind the last one.
            self.sender.forget_focus()

    def _sequence_frames(
        self, event: SequencedEvent, sequence: HardwareSequence, light: Lit
    ) -> EventPayloadGenerator:
        """The frames as they come; fewer where the runner is told to cancel, or all is to end."""
        core, gate = self.mmcore, self._gate
        frames, arrivals, patience_s = event.events, Arrivals(), event.metadata[PATIENCE]
        number, halted, cancel = 0, False, False
        until = time.monotonic() + patience_s
        while number < len(frames):
            if gate.shut:
                gate.check()  # what is still exposed is so in the dark
            if core.getRemainingImageCount():
                image, tags = core.popNextImageAndMD()
                arrived = arrivals.take(dict(tags))
                if number == len(frames) - 1:
                    light.off()
                else:
                    self.meter.share(arrived.at_s)
                meta: Any = {ARRIVED: arrived}
                signal = yield image, frames[number], meta
                self.meter.share()
                number += 1
                until = time.monotonic() + patience_s
                cancel = cancel or signal == "cancel" or gate.stop.asked
            elif light.is_off:
                if not core.getRemainingImageCount():  # one may have come in between
                    break
            elif time.monotonic() > until:
                raise DeviceFault(
                    f"camera {core.getCameraDevice()!r} gave {number} of {len(frames)} frames of "
                    f"a sequence, and no other in {patience_s:g} s"
                )
            else:
                time.sleep(TICK_S)
            if cancel and not halted:
                sequence.halt()  # with the frame under way
                light.off()
                halted = True
        if number < len(frames):
            gate.check()
            if not cancel:
                why = "its buffer is full" if core.isBufferOverflowed() else "it ended by itself"
                raise DeviceFault(
                    f"camera {core.getCameraDevice()!r} gave {number} of {len(frames)} frames of "
                    f"a sequence: {why}"
                )

    def teardown_event(self, event: MDAEvent) -> None:
        """Nothing of a sequence, which has ended where it began."""
        if not isinstance(event, SequencedEvent):
            super().teardown_event(event)

    @contextmanager
    def _shuttered(self) -> Iterator[None]:
        """The shutter open; the lasers behind it are on all the time."""
        core = self.mmcore
        shutter = core.getShutterDevice()
        try:
            try:
                with self._gate.passing():
                    self.meter.on([*chain.from_iterable(self._light.values()), FRAME])
                    core.setShutterOpen(shutter, True)
                core.waitForDevice(shutter)
            except DeviceFault:
                raise
            except Exception as error:
                raise DeviceFault(f"shutter {shutter!r} did not open: {error}") from error
            yield
        finally:
            try:
                core.setShutterOpen(shutter, False)
                core.waitForDevice(shutter)
            except Exception as error:
                raise StaysLit(f"shutter {shutter!r} did not close: {error}") from error
            self.meter.off()

    @contextmanager
    def _switched(self) -> Iterator[None]:
        """No shutter: lasers at their power, and at their safe values again at once."""
        core, sender = self.mmcore, self.sender
        self._gate.check()
        try:
            self.meter.on([FRAME])
            for name, value in self._lit.items():
                self.meter.on(self._light[name])
                sender.send({name: value})
            for device in set().union(*(sender.devices(name) for name in self._lit)):
                core.waitForDevice(device)
            sender.verify(self._lit, self._lit)
            yield
        finally:
            self.darken()

    def darken(self) -> None:
        """Set everything that has one to its safe value, even if others fail.

        Raises
        ------
        StaysLit
            One refused, or has another value.
        """
        core = self.mmcore
        trouble: dict[str, object] = {}
        for name in self._light:
            try:
                self.sender.darken(name)
            except Exception as error:
                trouble[name] = error
        for name, lasers in self._light.items():
            setting = self._settings[name]
            try:
                for device in self.sender.devices(name):
                    core.waitForDevice(device)
                has = self.sender.reads(name)
                if same(has, setting.safe):
                    self.meter.off(lasers)
                else:
                    trouble.setdefault(name, f"is {has}, not {setting.safe}")
            except Exception as error:
                trouble.setdefault(name, error)
        self.meter.off([FRAME])
        if trouble:
            what = "; ".join(f"{name!r}: {why}" for name, why in trouble.items())
            raise StaysLit(f"light could not be switched off: {what}")
