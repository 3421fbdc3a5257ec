"""The one door to the hardware."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from useq import MDAEvent

from devices.binding import (
    check_bindings,
    check_fixed,
    check_taken,
    set_fixed,
    with_whole_numbers,
)
from devices.cameras import simulated, with_channels
from devices.config import MicroscopeConfig, Value
from devices.errors import BindingError, DeviceFault
from devices.fields import grid
from devices.light import Received
from devices.lights import Loose
from devices.limits import check_event, settings_of
from devices.loading import assign_roles
from devices.looking import Looked, look
from devices.microscope_autofocus import MicroscopeAutofocus
from devices.opening import OpenCore, open_core
from devices.owners import check_once
from devices.pixels import PixelSize, contradiction
from devices.region import beyond_frame, changes_size, refused_by_camera
from devices.safety import SafeState, Stop
from devices.sample_clock import SampleClock
from devices.sending import LOCKED, NOWHERE_UM, PATIENCE, ROI, STAGES
from devices.shot import Plane, Shot
from devices.stages import check_moves, where_it_stands, with_stages
from devices.system_state import SystemState
from devices.watchdog import Watchdog

if TYPE_CHECKING:
    from pymmcore_plus.core._sequencing import SequencedEvent

_LOOKING_S = 60.0
"""How long setting everything once may take (s), filter wheels included."""


class Microscope:
    """Devices behind named settings, with their limits and their safe state.

    Use `Microscope.open`.

    Attributes
    ----------
    core
        Micro-Manager's core with C++ and Python devices in it.
    config
        What it was opened from; its fields are around where the stage was, unless it says where,
        settings whose property takes whole numbers are integers, its affine is the `.cfg`'s,
        unless it has one, and its camera channels are those of the camera.
    simulated
        True where the frames come from a simulation, a recording or a demo camera.
    shape, frame_bytes
        Rows and columns of a frame, and size of its raw pixels (bytes); of the largest one.
    shapes
        Rows and columns of the frames of each mode, at the settings that a run starts from.
    sizing
        Settings that change the size of frames.
    whole
        As `shapes`, of the camera's whole frames.
    fields
        Fields of view, from the centre outwards.
    kept
        The safe state in words: each shutter, setting and property that is made safe.
    loose
        Light-like properties that no run changes.
    stacks
        Whether a run takes z-stacks: shots without a plane have the focus put back.
    autofocus
        The autofocus device, and the lock of its continuous focus.
    watchdog
        What has to be fed while it may be lit; None where there is none.
    clock
        That of a simulated sample.
    has_stage
        Whether there is an XY stage.
    stood_um
        Where it was on opening; (0, 0) where there is none.
    state
        What the core knows of all devices.
    contradiction
        How the config's affine differs from the `.cfg`'s, in words; None where it does not.

    Examples
    --------
    >>> config = MicroscopeConfig(cfg="demo", pixel_size_nm=20, exposure={"camera_ms": 10})
    >>> with Microscope.open(config) as microscope:
    ...     microscope.simulated, microscope.shape
    (True, (512, 512))
    """

    stacks = False

    def __init__(self, held: OpenCore, config: MicroscopeConfig) -> None:
        from devices.engine import StrictEngine

        self._held = held
        self.core = core = held.core
        self.config = config
        self.simulated = bool(config.virtual_sted or config.replay) or simulated(core)
        self.fields = grid(config.fields)
        self._measure()
        self.has_stage = bool(core.getXYStageDevice())
        self.stood_um = core.getXYPosition() if self.has_stage else NOWHERE_UM
        self.kept = held.lights.kept()
        self.loose: tuple[Loose, ...] = tuple(held.lights.loose())
        self._pixel_size = PixelSize(core, config, float(core.getPixelSizeUm()))
        self.contradiction: str | None = None
        own = [one.address() for one in (*config.settings.values(), *config.constant.values())]
        self.watchdog: Watchdog | None = None
        if (dog := config.watchdog) is not None:
            self.watchdog = Watchdog(core, dog)
            own.append((dog.device, dog.property))
        self.state = SystemState(core, own)
        bound = {s.address(): (n, s) for n, s in config.settings.items()}
        guard = partial(check_event, config, bound)
        self._engine = engine = StrictEngine(core, config, guard, held.gate)
        engine.triggered = held.lights.triggered
        self.clock = SampleClock(core, config.clock)
        self.autofocus = MicroscopeAutofocus(held, config, engine.sender, engine.darken, self.clock)
        engine.keep_focus = self.autofocus.lock.keep
        core.mda.set_engine(self._engine)

    # ------------------------------------------------------------------ opening

    @classmethod
    @contextmanager
    def open(
        cls,
        config: MicroscopeConfig,
        *,
        base: Path = Path(),
        seed: int = 0,
        stop: Stop | None = None,
        revisited: int = 0,
    ) -> Iterator[Microscope]:
        """Load and bind everything, and let go of it when the context is left.

        No light is switched on, and all light that is on is made safe before anything else.

        Parameters
        ----------
        config
            The `microscope` section.
        base
            Folder that relative paths in it start from.
        seed
            Of a simulated sample that has none of its own.
        stop
            Whether it is to end.
        revisited
            How many of the first fields are gone round again and again, for the order of visit.

        Raises
        ------
        BindingError
            Something in the config is not on this microscope.
        Interrupted
            It is to end.
        """
        check_once(config)
        with open_core(config, base=base, seed=seed, stop=stop) as held:
            microscope = held.within(
                _LOOKING_S + config.timeout_s, lambda: cls._bind(held, config, revisited)
            )
            seen = held.within(
                _LOOKING_S + config.timeout_s, lambda: look(held.core, config, held.gate)
            )
            microscope._measured(seen)
            microscope._calibrate(seen)
            # Looking may have switched light on.
            held.darken("opened")
            held.arm()
            yield microscope

    @classmethod
    def _bind(cls, held: OpenCore, config: MicroscopeConfig, revisited: int) -> Microscope:
        core = held.core
        assign_roles(core, config)
        config = with_stages(core, with_whole_numbers(core, config))
        check_bindings(core, config)
        check_fixed(core, config)
        check_moves(core, config)
        set_fixed(core, config, held.gate)
        # Those properties may have switched light on.
        held.darken("opened")
        core.waitForSystem()
        check_taken(core, config)
        config = with_channels(core, config)
        return cls(held, config.placed(*where_it_stands(core), revisited=revisited))

    def _measure(self) -> None:
        """Ask how large a frame is; a camera that does not answer later ends no more than one."""
        self.shape = (int(self.core.getImageHeight()), int(self.core.getImageWidth()))
        self.frame_bytes = int(self.core.getImageBufferSize())
        self.shapes = dict.fromkeys(self.config.modes, self.shape)
        self.sizing: tuple[str, ...] = ()
        self.whole = dict(self.shapes)

    def _measured(self, seen: Looked) -> None:
        """Settings and regions of interest change how large a frame is."""
        self.shape, self.frame_bytes = seen.largest, seen.frame_bytes
        self.shapes, self.sizing = dict(seen.shapes), seen.sizing
        self.whole = dict(seen.whole)

    def _calibrate(self, seen: Looked) -> None:
        """Know how large a pixel is, and how it lies on the stage if the `.cfg` says so."""
        own = seen.own
        self.contradiction = contradiction(self.config, own)
        if self.config.affine is None and own is not None:
            self.config = self.config.model_copy(update={"affine": own.six})
        self._pixel_size = PixelSize(self.core, self.config, seen.pixel_um)

    def close(self, reason: str = "closed", *, hung: bool = False) -> SafeState:
        """Make safe, read back and let go of all devices; a second call does nothing more."""
        return self._held.close(reason, hung=hung)

    def shut_down(self, reason: str) -> str | None:
        """Set the `.cfg`'s Shutdown preset, once, with the microscope made safe before and after.

        Returns
        -------
        str | None
            Why it could not be set; None if it was, or if there is none.
        """
        return self._held.shut_down(reason)

    @property
    def closed(self) -> bool:
        """All devices were let go of."""
        return self._held.let_go

    # ------------------------------------------------------------------ shots

    @property
    def pixels(self) -> int:
        """Pixels of a frame, of the largest where they differ."""
        return self.shape[0] * self.shape[1]

    @property
    def frames_a_shot(self) -> int:
        """Frames that the camera gives at once."""
        return max(len(self.config.camera_channels), 1)

    def _pixels_now(self) -> int:
        """Of the frame that was taken last."""
        if not (self.sizing or self.config.roi or self._engine.sender.cropped):
            return self.pixels
        return int(self.core.getImageHeight()) * int(self.core.getImageWidth())

    def roi_refusal(self, mode: str, roi: Sequence[int], changing: Collection[str] = ()) -> str:
        """Why frames of a mode cannot be this part of the camera's; empty where they can.

        The camera is asked, between two frames. `changing` are settings that may change.

        Raises
        ------
        GateClosed
            Nothing may move any more.
        """
        config, whole = self.config, self.whole[mode]
        if config.exposure.resolution is not None:
            return f"the setting {config.exposure.resolution!r} says how large frames are"
        return (
            changes_size(self.sizing, config.modes[mode], changing)
            or beyond_frame(roi, whole)
            or refused_by_camera(self.core, self._engine.sender, roi, whole)
        )

    def pixel_um(self) -> float:
        """Side of a pixel of the frame that was taken last (µm)."""
        return self._pixel_size.nm() * 1e-3

    def settings(self, shot: Shot) -> dict[str, Value]:
        """Every setting of a shot: starting values, then the shot's, then its mode's.

        Raises
        ------
        LimitError
            Unknown mode or setting, or a value outside its range.
        """
        return settings_of(self.config, shot)

    def exposure_s(self, settings: Mapping[str, Value]) -> float:
        """Time (s) that light falls on the sample in one frame at `settings`."""
        return self.config.exposure_s(dict(settings), self.pixels)

    def dose_j(self, settings: Mapping[str, Value]) -> dict[str, float]:
        """Light energy on the sample (J) of one frame at `settings`, for each laser."""
        return self.config.dose_j(dict(settings), self.pixels)

    def received(self, asked: Mapping[str, Value]) -> Received:
        """What the sample got of the last shot.

        Parameters
        ----------
        asked
            Its settings; those that the devices were asked for say what they have instead.
        """
        sender = self._engine.sender
        return Received.of(
            self.config,
            asked,
            sender.has,
            pixels=self._pixels_now(),
            exposure_ms=sender.exposure_ms,
            lit=self._engine.meter.seconds(),
            pixel_nm=self._pixel_size.nm(),
            held=self.autofocus.lock.seen(),
        )

    def event(self, shot: Shot, index: int, *, elapsed_s: float = 0.0) -> MDAEvent:
        """The useq event of a shot, the form in which Micro-Manager's runner takes it.

        Parameters
        ----------
        shot
            What to take.
        index
            Number of the frame in the run.
        elapsed_s
            How old the run was when this runner started; `shot.at_s` counts from its birth.

        Raises
        ------
        LimitError
            The shot asks for something outside the configured ranges.
        """
        self.autofocus.lock.held = None
        settings = self.settings(shot)
        properties: list[tuple[str, str, Value]] = [
            (*self.config.settings[name].address(), value) for name, value in settings.items()
        ]
        wait, clock = self.clock.due(shot.at_s, elapsed_s)
        properties += clock
        where = shot.field
        more: dict[str, Any] = {STAGES: dict(where.stages)} if where and where.stages else {}
        if roi := self.config.roi.get(shot.mode) if shot.roi is None else shot.roi:
            more[ROI] = list(roi)
        if shot.locked:
            more[LOCKED] = True
        return MDAEvent(
            index={"t": index},
            pos_name=(where.name if where else "") or None,
            x_pos=where.x_um if where else None,
            y_pos=where.y_um if where else None,
            z_pos=self.focus_um(shot),
            # One that is a setting goes with the others.
            exposure=self.config.exposure.camera_ms,
            min_start_time=wait,
            properties=properties,
            metadata=more,
        )

    def sequence(
        self, shots: Iterable[Shot], first: int, *, elapsed_s: float = 0.0
    ) -> SequencedEvent | str:
        """The event of as many of the first shots as can be taken as one hardware sequence.

        Parameters
        ----------
        shots
            Those between which nothing is decided; at least one.
        first
            Number of the first one's frame in the run.
        elapsed_s
            As of `event`.

        Returns
        -------
        SequencedEvent | str
            Or why the first two cannot, in words.

        Raises
        ------
        LimitError
            A shot asks for something outside the configured ranges.
        """
        from devices.sequences import MOST, sequenced

        config = self.config
        if config.clock or config.virtual_sted or config.replay or config.imspector:
            return "its camera takes each frame when it is asked for it"
        buffer = int(self.core.getCircularBufferMemoryFootprint()) << 20
        longest_s = 0.0

        def event(shot: Shot, number: int) -> MDAEvent:
            nonlocal longest_s
            longest_s = max(longest_s, self.exposure_s(self.settings(shot)))
            return self.event(shot, number, elapsed_s=elapsed_s)

        events = (event(shot, number) for number, shot in enumerate(shots, first))
        settings = config.settings
        lights = {settings[name].address() for name in config.light if name in settings}
        most = min(MOST, buffer // max(1, self.frame_bytes))
        found = sequenced(self.core, events, most, lights)
        if not isinstance(found, str):
            found.metadata[PATIENCE] = longest_s + config.timeout_s
        return found

    def focus_um(self, shot: Shot) -> float | None:
        """Where the focus is to be for a shot (µm); None leaves it alone."""
        plane, of_field = shot.plane, shot.field.z_um if shot.field else None
        focus = self.config.fields.z_um if of_field is None else of_field
        if plane is None:
            return focus if self.stacks else of_field
        return plane.z_um if plane.absolute else (focus or 0.0) + plane.z_um

    def refocus(self) -> str | None:
        """Put the focus back to where a run with z-stacks found it, if it may go there.

        A continuous focus that was on then is on again.

        Returns
        -------
        str | None
            Why that is not on again; None where it is, or was not.

        Raises
        ------
        DeviceFault
            It cannot be moved, or nothing may move any more.
        """
        z_um = self.config.fields.z_um
        if self.stacks and self.config.stage_limits.refusal(None, None, z_um) is None:
            self._engine.sender.move(None, None, z_um)
            try:
                self.core.waitForDevice(self.core.getFocusDevice())
            except Exception as error:
                raise DeviceFault(f"the focus was not put back: {error}") from error
        return self.autofocus.lock.put_back()

    # ------------------------------------------------------------------ place

    def check_fields(self, planes: Sequence[Plane | None] = (None,), *, moves: bool = True) -> None:
        """Check that the stages may go to every plane of every field.

        Parameters
        ----------
        planes
            Of each field; None: where the field has the focus.
        moves
            Whether the stage is moved to the fields.

        Raises
        ------
        BindingError
            One is beyond `stage_limits`.
        """
        for field in self.fields if moves else [None]:
            for plane in planes:
                z_um = self.focus_um(Shot("", field=field, plane=plane))
                x_um, y_um = (field.x_um, field.y_um) if field else (None, None)
                stages = dict(field.stages) if field else {}
                if why := self.config.stage_limits.refusal(x_um, y_um, z_um, stages):
                    where = field or "where the stage is"
                    at = f", plane {plane.index}" if plane else ""
                    raise BindingError(("fields",), f"{where}{at}: {why}")

    # ------------------------------------------------------------------ safe state

    @property
    def stop(self) -> Stop:
        """Whether it is to end: from then on no light and no move begins."""
        return self._held.gate.stop

    @stop.setter
    def stop(self, stop: Stop) -> None:
        self._held.gate.stop = stop

    def arm(self) -> None:
        """Let the engine move devices again after `make_safe`."""
        self._engine.sender.forget()
        self._held.arm()

    def make_safe(self, reason: str) -> SafeState:
        """Shutters closed, lasers at their safe values, all motion stopped, each read back.

        Never raises, and never waits long for a device that hangs. From here on the engine
        moves nothing, until `arm`.
        """
        state = self._held.make_safe(reason)
        if state.ok:
            self._engine.meter.off()
        return state
