"""What a plan is: a generator that yields shots, notes and questions, and receives frames.

    def twice(field):
        first = yield Shot.sted(field, {})
        second = yield Shot.sted(field, {})
        yield Note("difference", {"counts": float(second.pixels.mean() - first.pixels.mean())})

A shot is answered with its `Frame`, a note with None, and `Listen` with what a person has told
the run since the last one: a tuple of instructions, often an empty one. `Due` is answered with how
late a time point is, `Autofocus` with what the autofocus device found (`Focused`), and `Rebuild`
with its result if the plan waits for that, else with None. `Block` says which shots come next
whatever their frames show, and is answered with None. A plan must be a function of its arguments
and of these answers, and of nothing else: that is what lets a run be resumed and replayed from its
ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devices.autofocus import Autofocus, Focused
from devices.config import MicroscopeConfig, Value
from devices.shot import Shot

if TYPE_CHECKING:
    # A config is read without numpy.
    from numpy.typing import NDArray

    from models.quality.score import Score

LAPSE = "lapse"
"""Topic of the notes in which a time-lapse says what its frames are."""
FOCUS = "refocus"
"""Topic of the notes in which a plan says where it found the focus of a field.

They say as `planned` how many frames that took.
"""
PLACE = "place"
"""What a person tells a time-lapse that is to take one more field, and the topic of its note on it.

The note says as `planned` how many frames that adds to the run.
"""
ROI = "roi"
"""What a person tells a run that is to take another part of the camera's frames from now on."""
REOPTIMIZE, TRIED, REOPTIMIZED = "reoptimize", "reoptimize trial", "reoptimized"
"""Topics of the notes on a search between time points: its beginning, its trials, its result.

The first and the last say as `planned` by how many frames the run has become longer or shorter.
"""
STACK = "retest stack"
"""Topic of the notes on the z-stacks of retests: the score of each plane."""
KEYS = ("try", "prefer", "pick", "trials", "accept", "finish")
"""What a person may tell a search, beside its tuned settings."""
FREE = "free"
"""What a setting is told to be that is no longer fixed or narrowed."""
FRAMES_EACH = 3
"""Confocal, STED, confocal: frames of each trial, of each repeat and of each retest."""


class AnalysisError(RuntimeError):
    """A frame's score or uncertainty could not be computed; a plan may catch it."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a plan decided or found, for the ledger.

    Parameters
    ----------
    topic
        `trial`, `recommendation`, `result`, …
    data
        Plain numbers, strings, lists and dicts.

    Examples
    --------
    >>> Note("focus", {"z_um": 1.5, "score": 0.7}).topic
    'focus'
    """

    topic: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Shots that a plan asks for next, one by one, whatever the frames show.

    A promise, no request: each shot is asked for after it as ever, and answered with its frame.
    Frames of a block may be taken at once, as a hardware sequence. Until its last shot the plan
    only notes things.

    Parameters
    ----------
    shots
        In their order.
    """

    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """A moment at which a plan takes instructions from a person; answered with them."""


@dataclass(frozen=True, slots=True)
class Due:
    """A time point that is about to begin, unless it is too late; answered with `Late`.

    Parameters
    ----------
    at_s
        When it should begin, on the run's schedule (s).
    interval_s
        From one time point to the next (s); above 0.
    skip
        Whether time points that are late may be left out; otherwise the schedule is shifted.
    most
        How many may be left out; None: any number.
    frames
        Planned frames that each of them leaves untaken for good.
    """

    at_s: float
    interval_s: float
    skip: bool = False
    most: int | None = None
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Late:
    """How late a time point is.

    Parameters
    ----------
    by_s
        By how much (s); 0 where it is in time, as it is up to half an interval.
    points
        How many time points are to be left out, with this one; 0: it begins now.
    """

    by_s: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One thing that a person told a run; see `agent.steering.instructions` for what there is.

    Parameters
    ----------
    key
        A setting, or `try`, `prefer`, `pick`, `trials`, `accept`, `finish`, `place`, `roi`.
    value
        Plain data.
    """

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Frames between two measured ones, to be rebuilt beside the acquisition.

    Parameters
    ----------
    field
        Number of the field they are of.
    before, after
        (frame number, time point) of the measured ones.
    points
        Time points between them whose frames are to be kept.
    audits
        (frame number, time point) of measured frames between them that rebuilt ones are compared
        with; frames rebuilt for that are not kept.
    drift_px
        How far the structure as a whole has moved from the one to the other (rows, columns).
    wait
        Whether the plan waits for the answer.
    series
        Channel and plane of the frames, by number; None: those that decide, of which there may be
        one only.
    """

    field: int
    before: tuple[int, int]
    after: tuple[int, int]
    points: tuple[int, ...] = ()
    audits: tuple[tuple[int, int], ...] = ()
    drift_px: tuple[float, float] = (0.0, 0.0)
    wait: bool = True
    series: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a `Rebuild`, in numbers: they are in the ledger before the plan has them.

    Parameters
    ----------
    uncertainty
        The interpolator's, of each of `points` and then of each of `audits`; see
        `models.interpolation.Interpolated`.
    errors
        (squared error, its standard deviation) at each of `audits`, or None where no structure is
        seen; see `agent.plans.adaptive.error.squared_error`.
    failed
        Why there is nothing of all that; None where there is.
    """

    uncertainty: tuple[float, ...] = ()
    errors: tuple[tuple[float, float] | None, ...] = ()
    failed: str | None = None


def _nobody_filters() -> float:
    raise AnalysisError("no frame is filtered")


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was taken.

    Parameters
    ----------
    index
        Its number in the run, and in `raw.ome.zarr`.
    shot
        The one that the plan asked for.
    settings
        Every setting it was taken at.
    pixels
        Rows × columns, as the camera gave them; read-only.
    time_s
        When, in true seconds since the run's birth (of the sample's clock where that is
        simulated).
    dose_J
        Light energy that it took (J), by laser; None where an earlier version's ledger does not
        have it.
    pixel_size_nm
        Side of a pixel on the sample (nm); None where it is the config's.

    Examples
    --------
    >>> import numpy as np
    >>> from models.quality.score import Score
    >>> shot, settings = Shot("sted"), {"depletion_power": 50.0}
    >>> frame = Frame(0, shot, settings, np.zeros((8, 8)), 1.5, lambda: Score(0.8, sd=0.1))
    >>> frame.score, frame.quality.sd, frame.settings["depletion_power"]
    (0.8, 0.1, 50.0)
    """

    index: int
    shot: Shot
    settings: Mapping[str, Value]
    pixels: NDArray[Any]
    time_s: float
    _quality: Callable[[], Score]
    _uncertainty: Callable[[], float] = _nobody_filters
    dose_J: Mapping[str, float] | None = None
    pixel_size_nm: float | None = None

    @property
    def quality(self) -> Score:
        """What the network says of it; waits for the analysis if it is not there yet.

        Raises
        ------
        AnalysisError
            It failed, or took too long.
        """
        return self._quality()

    @property
    def score(self) -> float:
        """Quality in [0, 1]: the value of `quality`, which waits and fails likewise."""
        return self.quality.value

    @property
    def uncertainty(self) -> float:
        """How unsure the filter is of this frame, as one number; waits for the filter.

        A frame that the filter passed over is filtered then.

        Raises
        ------
        AnalysisError
            It failed, took too long, or frames of this mode are not filtered.
        """
        return self._uncertainty()


Step = Shot | Note | Listen | Due | Autofocus | Rebuild | Block
Answer = Frame | tuple[Instruction, ...] | Late | Focused | Rebuilt | None
Plan = Generator[Step, Answer, None]


def apply_told(
    settings: dict[str, Value], rois: dict[str, tuple[int, ...]] | None = None, **where: Any
) -> Plan:
    """Listen to a person, and change settings accordingly: `yield from apply_told(settings)`.

    Which settings may be told, and within which limits, the plan's section says (`adjustable` and
    `edges` of `agent.config.PlanSection`); each instruction is checked before it comes here.

    Parameters
    ----------
    settings
        Changed in place. A setting that is told to be `free` is left out: it has its starting
        value.
    rois
        Regions of interest by mode, changed likewise; a plan without them is told none.
    where
        Noted beside key and value: which frame it is applied from, for example.

    Examples
    --------
    >>> settings = {"depletion_power": 50.0}
    >>> told = apply_told(settings, frame=3)
    >>> next(told)
    Listen()
    >>> note = told.send((Instruction("depletion_power", 80.0),))
    >>> note.topic, note.data
    ('told', {'key': 'depletion_power', 'value': 80.0, 'frame': 3})
    >>> settings
    {'depletion_power': 80.0}
    """
    instructions = yield Listen()
    assert isinstance(instructions, tuple)
    for instruction in instructions:
        if rois is not None and is_roi(instruction):
            yield from apply_roi(instruction, rois, **where)
            continue
        settings.pop(instruction.key, None)
        if instruction.value != FREE:
            settings[instruction.key] = instruction.value
        yield Note("told", {"key": instruction.key, "value": instruction.value, **where})


def is_roi(instruction: Instruction) -> bool:
    """Whether it is about regions of interest, and not a setting of that name."""
    return instruction.key == ROI and isinstance(instruction.value, Mapping)


def apply_roi(instruction: Instruction, rois: dict[str, tuple[int, ...]], **where: Any) -> Plan:
    """Change regions of interest as a person told, and note it.

    Parameters
    ----------
    instruction
        Its value has x, y, width, height (px) by mode, or nothing for the camera's whole frame.
    rois
        Changed in place.
    where
        As of `apply_told`.
    """
    rois |= {mode: tuple(roi) for mode, roi in instruction.value.items()}
    yield Note("told", {"key": ROI, "value": dict(instruction.value), **where})


def purpose(number: int, repeat: int = 0) -> str:
    """Purpose of a trial's shots, in words.

    Parameters
    ----------
    number
        Of the trial, counted from 1.
    repeat
        How often it was taken before and flagged.

    Examples
    --------
    >>> purpose(3), purpose(3, repeat=1)
    ('trial 3', 'trial 3, repeat 1')
    """
    return f"trial {number}, repeat {repeat}" if repeat else f"trial {number}"


def searching(number: int, trial: int) -> str:
    """The same of a search of a time-lapse, both counted from 1.

    Examples
    --------
    >>> searching(2, trial=5)
    'search 2, trial 5'
    """
    return f"search {number}, trial {trial}"


def light_j(
    scope: MicroscopeConfig,
    settings: Mapping[str, Value],
    pixels: int,
    mode: str = "sted",
    reference: str = "confocal",
) -> dict[str, float]:
    """Light of a trial, a frame between two references (J), by laser.

    Parameters
    ----------
    scope
        The microscope's config.
    settings
        Of the frame; absent ones keep their starting value.
    pixels
        Of a frame.
    mode, reference
        Those of the frame, and of the references.

    Examples
    --------
    >>> power = {"device": "Laser", "property": "Power", "unit": "mW", "range": [0, 100]}
    >>> power |= {"start": 10, "safe": 0, "laser": "depletion"}
    >>> scope = MicroscopeConfig.model_validate(
    ...     {
    ...         "cfg": "demo",
    ...         "pixel_size_nm": 20,
    ...         "exposure": {"camera_ms": 500},
    ...         "settings": {"power": power},
    ...         "modes": {"sted": {}, "confocal": {"power": 0}},
    ...     }
    ... )
    >>> light_j(scope, {"power": 50.0}, pixels=64 * 64)
    {'depletion': 0.025}
    """
    start, modes = scope.start(), scope.modes
    frame = scope.dose_j({**start, **settings, **modes[mode]}, pixels)
    beside = scope.dose_j({**start, **modes[reference]}, pixels)
    return {laser: joules + 2 * beside[laser] for laser, joules in frame.items()}
