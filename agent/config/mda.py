"""`plan: mda`: a useq sequence, as napari-micromanager and pymmcore-gui make them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from agent.config.plan_section import PlanSection, Whole, check_mode
from agent.config.useq_events import AUTOFOCUS, MOST, events_of
from devices.autofocus import Autofocus
from devices.config import MicroscopeConfig, Value
from devices.position import FARTHEST_UM, PositionsError
from devices.positions import read_data
from devices.refusals import refused
from devices.shot import Field as Place
from devices.shot import Plane, Shot

if TYPE_CHECKING:
    from useq import MDAEvent, MDASequence


_NO_GROUP = "Channel"
"""The group of a channel of which a sequence says none."""


class MdaConfig(PlanSection):
    """`plan: mda`: the frames of a useq sequence, in its order."""

    sequence: dict[str, Any] | None = Field(
        None,
        description="file of a useq sequence (YAML, JSON), or the sequence itself. A file is read "
        "once: a run's own config has the sequence",
    )
    channels: dict[str, str] = Field(
        default_factory=dict,
        description="mode of a channel of the sequence whose name is no mode, {channel: mode}",
    )
    mode: str = Field("sted", description="mode of what has no channel")
    autofocus_timeout_s: float = Field(
        10.0, gt=0, le=600, description="of a search of its `autofocus_plan` (s)"
    )
    autofocus_farthest: float = Field(
        10.0,
        gt=0,
        description="how far from where it begins such a search may find the focus (µm); what is "
        "farther has failed",
    )
    source: str | None = Field(
        None, description="file that `sequence` was read from; written by stedfast"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Take the sequence of the file, which from then on is the config's own."""
        if not isinstance(data, Mapping) or not isinstance(data.get("sequence"), str | Path):
            return data
        file = Path(data["sequence"])
        try:
            found = read_data(file, "a useq sequence (YAML, JSON)")
        except PositionsError as error:
            raise ValueError(f"`sequence`: {file}: {error}") from None
        if not isinstance(found, dict):
            raise ValueError(f"`sequence`: {file}: {refused(found, 'a useq sequence')}")
        return {**data, "sequence": found, "source": str(file)}

    @model_validator(mode="after")
    def _makes_frames(self) -> MdaConfig:
        if self.sequence is not None:
            self._check_events()
        return self

    def _check_events(self) -> None:
        for event in self._all:
            action = getattr(event.action, "type", "acquire_image")
            if action not in ("acquire_image", AUTOFOCUS):
                raise ValueError(
                    f"`sequence`: asks for {action!r}; accepted: frames, and an `autofocus_plan`. "
                    "Other actions are to be left out"
                )
        if not self.events:
            raise ValueError("`sequence`: has no frames; accepted: channels, times, places or z")
        if len(self.events) > MOST:
            raise ValueError(f"`sequence`: has more than {MOST:,} frames")
        if any(time is not None and time < 0 for time in self._times_s):
            raise ValueError("`sequence`: has a frame that is due before it begins")
        for event in self.events:
            for axis in ("x_pos", "y_pos", "z_pos"):
                at_um = getattr(event, axis)
                # Which NaN is not.
                if at_um is not None and not abs(at_um) <= FARTHEST_UM:
                    raise ValueError(
                        f"`sequence`: has a frame at {axis[0]} = {at_um:g} µm; "
                        f"accepted: up to {FARTHEST_UM:,.0f} µm"
                    )
            if (event.x_pos is None) != (event.y_pos is None):
                raise ValueError(
                    "`sequence`: has a place with x or y alone; accepted: both, or neither"
                )
            if event.slm_image is not None:
                raise ValueError("`sequence`: has an SLM image; accepted: frames alone")

    @cached_property
    def events(self) -> tuple[MDAEvent, ...]:
        """The frames that useq makes of the sequence, in its order."""
        return tuple(event for event in self._all if not _focuses(event))

    @cached_property
    def _all(self) -> tuple[MDAEvent, ...]:
        """The same with what comes between the frames."""
        return () if self.sequence is None else events_of(self.sequence)

    def shots(self, scope: MicroscopeConfig) -> Iterator[Shot]:
        """The frames.

        Parameters
        ----------
        scope
            The microscope's config.

        Raises
        ------
        ValueError
            One asks for what the config does not have; the message starts with the key.
        """
        return (step for _, step in self.steps(scope) if isinstance(step, Shot))

    def steps(self, scope: MicroscopeConfig) -> Iterator[tuple[int | None, Shot | Autofocus]]:
        """The frames, and the searches for the focus between them, in their order.

        Parameters
        ----------
        scope
            The microscope's config.

        Yields
        ------
        tuple
            Number of the position in the sequence, and the step; heights are without what
            searches find.

        Raises
        ------
        ValueError
            One asks for what the config does not have; the message starts with the key.
        """
        times = iter(self._times_s)
        waiting: list[MDAEvent] = []
        for event in self._all:
            if _focuses(event):
                waiting.append(event)
                continue
            at_s = next(times)
            for search in waiting:
                yield search.index.get("p"), self._search(search, at_s, scope)
            waiting.clear()
            yield (
                event.index.get("p"),
                Shot(
                    self._mode(event),
                    self._settings(event, scope),
                    self._place(event),
                    at_s=at_s,
                    purpose=f"time point {event.index['t']}" if "t" in event.index else "",
                    point=event.index.get("t", 0) if self.by_point() else None,
                    plane=self._plane(event),
                ),
            )

    def _search(self, event: MDAEvent, at_s: float | None, scope: MicroscopeConfig) -> Autofocus:
        begins = event.z_pos
        if begins is not None and _relative(event):
            begins += scope.fields.z_um or 0.0
        action: Any = event.action
        return Autofocus(
            self._place(event),
            offset=action.autofocus_motor_offset,
            # Without an offset, pymmcore-plus leaves the device alone.
            offset_device=None
            if action.autofocus_motor_offset is None
            else action.autofocus_device_name,
            tries=max(1, action.max_retries),
            timeout_s=self.autofocus_timeout_s,
            farthest_um=self.autofocus_farthest,
            point=event.index.get("t", 0),
            at_s=at_s,
            start_um=begins,
        )

    def _mode(self, event: MDAEvent) -> str:
        if event.channel is None:
            return self.mode
        return self.channels.get(event.channel.config, event.channel.config)

    @staticmethod
    def _settings(event: MDAEvent, scope: MicroscopeConfig) -> dict[str, Value]:
        settings: dict[str, Value] = {}
        if event.exposure is not None:
            if (name := scope.exposure.camera) is not None:
                settings[name] = event.exposure
            elif event.exposure != scope.exposure.camera_ms:
                raise ValueError(
                    f"`mda.sequence`: exposes for {event.exposure:g} ms, which the config does not "
                    "let change; accepted: `exposure: {camera: SETTING}`, or a sequence without"
                )
        bound = {(one.device, one.property): name for name, one in scope.settings.items()}
        for device, prop, value in event.properties or ():
            if (name := bound.get((device, prop))) is None:
                raise ValueError(
                    f"`mda.sequence`: sets {device}.{prop}, which is no setting; accepted: "
                    "properties that `microscope.settings` has"
                )
            settings[name] = value
        return settings

    @cached_property
    def _times_s(self) -> tuple[float | None, ...]:
        """When each frame is due since the first one (s); phases follow one another."""
        times: list[float | None] = []
        begun = last = 0.0
        for event in self.events:
            if event.reset_event_timer:
                begun = last
            if event.min_start_time is None:
                times.append(None)
                continue
            last = max(last, begun + event.min_start_time)
            times.append(begun + event.min_start_time)
        return tuple(times)

    @cached_property
    def _numbers(self) -> dict[tuple[Any, ...], int]:
        """Number of each place, in the order in which they come."""
        found: dict[tuple[Any, ...], int] = {}
        for event in self.events:
            if event.x_pos is not None and event.y_pos is not None:
                found.setdefault(_key(event), len(found))
        return found

    def _place(self, event: MDAEvent) -> Place | None:
        if event.x_pos is None or event.y_pos is None:
            return None
        height = None if "z" in event.index else event.z_pos
        name = event.pos_name or ""
        return Place(self._numbers[_key(event)], event.x_pos, event.y_pos, height, name)

    def _plane(self, event: MDAEvent) -> Plane | None:
        if event.z_pos is None or ("z" not in event.index and event.x_pos is not None):
            return None
        rank = self._ranks.get(event.index.get("z", 0), 0)
        return Plane(rank, event.z_pos, absolute=not _relative(event))

    @cached_property
    def _ranks(self) -> dict[int, int]:
        """Number of each plane from the lowest one, by its number in the sequence."""
        heights: dict[int, float] = {}
        for event in self.events:
            if "z" in event.index and event.z_pos is not None:
                heights.setdefault(event.index["z"], event.z_pos)
        ordered = sorted(heights, key=lambda number: (heights[number], number))
        return {number: rank for rank, number in enumerate(ordered)}

    # ------------------------------------------------------------------ answers

    def check(self, whole: Whole) -> None:
        """It has a sequence whose frames the microscope can take."""
        if self.sequence is None:
            raise ValueError("`mda.sequence`: is not there; accepted: a file, or a sequence")
        names = {self._mode(event) for event in self.events}
        for mode in sorted(names):
            if mode not in whole.microscope.modes and mode != self.mode:
                raise ValueError(
                    f"`mda.channels`: {refused(mode, whole.microscope.modes)}; a channel of the "
                    "sequence is the mode of its name, or the one given here"
                    f"{self._made_one(mode, whole.microscope)}"
                )
            check_mode("mda.mode", mode, whole.microscope)
        self._check_groups(whole.microscope)
        for shot in self.shots(whole.microscope):
            pinned = whole.microscope.modes[shot.mode]
            for name, value in shot.settings.items():
                if pinned.get(name, value) != value:
                    raise ValueError(
                        f"`mda.sequence`: `{name}`: found {value!r} in {shot.mode}, which "
                        f"`microscope.modes` has at {pinned[name]!r}; accepted: one of the two"
                    )
                if why := whole.microscope.settings[name].refusal(value):
                    raise ValueError(f"`mda.sequence`: `{name}`: {why}")

    def _check_groups(self, scope: MicroscopeConfig) -> None:
        """A preset of one config group is not taken for that of another one of the same name."""
        for channel in {event.channel for event in self.events if event.channel is not None}:
            if channel.config in self.channels or channel.group == _NO_GROUP:
                continue  # the config says which mode is meant, or the sequence says no group
            pinned = scope.modes.get(channel.config, {})
            groups = [
                setting.group
                for name, setting in scope.settings.items()
                if setting.group is not None and pinned.get(name) == channel.config
            ]
            if groups and channel.group not in groups:
                raise ValueError(
                    f"`mda.sequence`: has the channel {channel.config!r} of the group "
                    f"{channel.group!r}, and the mode of that name sets that of {groups[0]!r}; "
                    "accepted: the same group, or `mda.channels` that says which mode is meant"
                )

    def _made_one(self, mode: str, scope: MicroscopeConfig) -> str:
        """What makes a mode of a channel whose config group is a setting; else nothing."""
        for event in self.events:
            if (channel := event.channel) is None or self._mode(event) != mode:
                continue
            preset = channel.config
            for name, setting in scope.settings.items():
                if setting.group == channel.group and preset in (setting.choices or ()):
                    return f"; `microscope.modes: {{{mode}: {{{name}: {preset}}}}}` makes it one"
        return ""

    def modes(self) -> tuple[str, ...]:
        """Those of its channels, in the order in which they come."""
        return tuple(dict.fromkeys(self._mode(event) for event in self.events)) or (self.mode,)

    def shares(self, scope: MicroscopeConfig) -> list[tuple[str, Mapping[str, Value], float]]:
        """As its channels have them."""
        shots = list(self.shots(scope))
        found = Counter((shot.mode, tuple(shot.settings.items())) for shot in shots)
        return [
            (mode, dict(settings), count / len(shots)) for (mode, settings), count in found.items()
        ]

    def planes(self) -> tuple[Plane | None, ...]:
        """Of its stack."""
        found = {plane.index: plane for event in self.events if (plane := self._plane(event))}
        return tuple(found[index] for index in sorted(found)) or (None,)

    def own_fields(self) -> list[Place]:
        """Its places."""
        first: dict[int, Place] = {}
        for event in self.events:
            if (place := self._place(event)) is not None:
                first.setdefault(place.index, place)
        return [first[index] for index in sorted(first)]

    def fields_at_once(self) -> int:
        """How many places it has."""
        return max(len(self._numbers), 1)

    def by_point(self) -> bool:
        """Unless two of its frames are of one time point, place, channel and plane.

        Nor where only some of them have a place.
        """
        return self._by_point

    @cached_property
    def _by_point(self) -> bool:
        places = Counter(
            (event.index.get("t", 0), _key(event), self._mode(event), event.index.get("z", 0))
            for event in self.events
        )
        placed = {event.x_pos is not None for event in self.events}
        return max(places.values(), default=0) == 1 and len(placed) == 1

    def plane_step_um(self) -> float | None:
        """Of its stack, where the planes are equidistant."""
        heights = [plane.z_um for plane in self.planes() if plane is not None]
        steps = {round(high - low, 6) for low, high in pairwise(heights)}
        return steps.pop() if len(steps) == 1 else None

    def planned_frames(self) -> int:
        """Those of the sequence."""
        return len(self.events)

    def waits_s(self) -> float:
        """Until the last one is due."""
        return max((time for time in self._times_s if time is not None), default=0.0)

    def moves(self) -> bool:
        """Where it has places."""
        return bool(self._numbers)

    def focuses(self) -> bool:
        """Where it has heights, or an `autofocus_plan`."""
        return self.autofocuses() or any(event.z_pos is not None for event in self.events)

    def autofocuses(self) -> bool:
        """Where it has an `autofocus_plan`."""
        return len(self._all) > len(self.events)

    def offsets(self) -> list[tuple[str, float]]:
        """Stages that are the offset of the autofocus device, and where they are sent."""
        found = {
            (name, offset): None
            for event in self._all
            if (name := getattr(event.action, "autofocus_device_name", None)) is not None
            and (offset := getattr(event.action, "autofocus_motor_offset", None)) is not None
        }
        return list(found)


def _focuses(event: MDAEvent) -> bool:
    """Whether an event is a search for the focus, and no frame."""
    return getattr(event.action, "type", "") == AUTOFOCUS


def _key(event: MDAEvent) -> tuple[Any, ...]:
    """What tells a place from the others, whatever its plane."""
    index = event.index
    return index.get("p"), index.get("g"), event.x_pos, event.y_pos, event.pos_name


def _relative(event: MDAEvent) -> bool:
    """Whether a height is an offset: the plan is relative, and to no place with a height."""
    sequence: MDASequence | None = event.sequence
    if sequence is None or sequence.z_plan is None or not sequence.z_plan.is_relative:
        return False
    number = event.index.get("p")
    places = sequence.stage_positions
    return number is None or number >= len(places) or places[number].z is None
