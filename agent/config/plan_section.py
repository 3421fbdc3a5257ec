"""What every plan's section of the config answers about its plan.

Code that depends on a run's plan asks `RunConfig.section`, and compares no names.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from devices import refusals
from devices.config import MicroscopeConfig, Model, SettingConfig, Value
from devices.refusals import refused, shortened
from devices.shot import Field, Plane


class Analysis(Protocol):
    """What is computed from each frame, as far as the section of a plan needs to know."""

    @property
    def score(self) -> bool:
        """Whether frames are scored."""
        ...


class Search(Protocol):
    """How settings are searched, as far as the section of another plan needs to know."""

    @property
    def mode(self) -> str:
        """The mode whose settings are searched."""
        ...

    def check_search(self, whole: Whole, who: str) -> None:
        """Check what everything needs that looks for settings."""
        ...

    def check_start(self, scope: MicroscopeConfig, who: str) -> None:
        """Check that the starting settings are among those searched."""
        ...


class Whole(Protocol):
    """What a section sees of the config that it stands in."""

    @property
    def microscope(self) -> MicroscopeConfig:
        """The microscope's part."""
        ...

    @property
    def optimize(self) -> Search:
        """How settings are searched."""
        ...

    @property
    def analysis(self) -> Analysis:
        """What is computed from each frame."""
        ...

    @property
    def scores(self) -> bool:
        """Whether the frames that a search tunes are scored."""
        ...

    def scored_modes(self) -> tuple[str, ...]:
        """Modes whose frames are scored."""
        ...

    @property
    def plan(self) -> str:
        """Name of the plan."""
        ...


class PlanSection(Model):
    """Base of the sections of plans.

    Its answers are those of a plan that moves the stage, takes an unknown number of frames, cannot
    be told anything and searches nothing; a section overrides what differs.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a key that hides an answer: it could not be asked for any more."""
        super().__pydantic_init_subclass__(**kwargs)
        for key in cls.model_fields:
            if callable(getattr(PlanSection, key, None)):
                raise TypeError(
                    f"{cls.__name__}: found a key {key!r}, which is what every plan's section "
                    "answers; accepted: another name"
                )

    def check(self, whole: Whole) -> None:
        """Check that the section fits the rest of its config.

        Raises
        ------
        ValueError
            It does not. The message starts with the key that it is about, in backticks.
        """

    def modes(self) -> tuple[str, ...]:
        """Modes of its planned frames, each for an equal share of them; at least one."""
        return ("sted",)

    def decides(self) -> str:
        """The mode of its frames that it is about, where there are several."""
        return "sted"

    def shares(self, scope: MicroscopeConfig) -> list[tuple[str, Mapping[str, Value], float]]:
        """Modes of its planned frames, settings other than those it starts at, share of frames."""
        return [(mode, {}, 1 / len(self.modes())) for mode in self.modes()]

    def planned_frames(self) -> int | None:
        """How many frames it takes or skips; None where it has no end.

        What depends on how the run goes (repeats, searches of a time-lapse) is not among them and
        is counted when it begins.
        """
        return None

    def fewest_frames(self) -> int | None:
        """How many of the planned frames are taken at least, where some may be skipped."""
        return self.planned_frames()

    def expected_frames(self) -> int | None:
        """How many of the planned frames are taken at most."""
        return self.planned_frames()

    def searching_frames(self) -> int:
        """How many frames searches between planned frames take at most."""
        return 0

    def repeated_frames(self) -> int:
        """How many frames are taken again at most, because their score is doubtful."""
        return 0

    def fewest_frames_of_a_field(self) -> float | None:
        """How many frames each field gets at least; None if it looks at none in particular."""
        return None

    def waits_s(self) -> float:
        """Time from the first planned frame to the last (s), where that is scheduled; else 0."""
        return 0.0

    def planned_trials(self) -> int:
        """How many trials it has at first; 0 where it has none."""
        return 0

    def moves(self) -> bool:
        """Whether it moves the stage."""
        return True

    def goes_only_to(self) -> int:
        """How many of the first fields are all that it goes to; 0 where it goes elsewhere, too."""
        return 0

    def focuses(self) -> bool:
        """Whether it moves the focus."""
        return False

    def frames_of_a_point(self) -> str:
        """Frames of a time point in words; nothing where there is one, or no time points."""
        return ""

    def planes(self) -> tuple[Plane | None, ...]:
        """Planes that it takes of each field; None: where the focus is."""
        return (None,)

    def autofocuses(self) -> bool:
        """Whether it needs the autofocus device that the microscope has."""
        return False

    def finds_focus(self) -> bool:
        """Whether it looks for its focus, where the config has a section `focus`."""
        return False

    def own_fields(self) -> Sequence[Field] | None:
        """Fields of view of its own; None: the microscope's."""
        return None

    def fields_at_once(self) -> int:
        """Fields of a time point."""
        return 1

    def by_point(self) -> bool:
        """Whether its frames have a time point, channel and plane each, and are stored by them."""
        return False

    def plane_step_um(self) -> float | None:
        """Distance of its planes (µm); None where it is not the same everywhere."""
        return None

    def follows(self) -> str | None:
        """The key that has the stage follow what is seen in frames; None where it does not."""
        return None

    def returns(self) -> bool:
        """Whether it comes back to fields that it has left."""
        return True

    def visited(self) -> int | None:
        """How many fields it goes to at most, the first ones; None: perhaps all."""
        return None

    def revisited(self) -> int:
        """How many of the first fields it goes round again and again, for the order of visit."""
        return 0

    def searches(self) -> bool:
        """Whether the run as a whole is a search for settings: it has trials and a result."""
        return False

    def reoptimizes(self) -> bool:
        """Whether it looks for better settings between other frames now and then."""
        return False

    def rebuilds(self) -> bool:
        """Whether frames are skipped and rebuilt."""
        return False

    def tunes(self) -> bool:
        """Whether the interpolator is fine-tuned on the audits."""
        return False

    def refuses_places(self) -> str:
        """Why it cannot take more fields while it runs; empty where it can."""
        return "which takes no more fields while it runs"

    def refuses_roi(self) -> str:
        """Why its frames cannot become other parts of the camera's; empty where they can."""
        return "whose frames are those that its config says"

    def listens(self) -> bool:
        """Whether it can be told settings while it runs."""
        return False

    def adjustable(self, scope: MicroscopeConfig) -> list[str]:
        """Names of the settings of `microscope.settings` that it can be told."""
        return []

    def edges(self, scope: MicroscopeConfig, name: str) -> tuple[Value, ...]:
        """Range or choices of a setting that it can be told."""
        setting = scope.settings[name]
        return tuple(setting.range or setting.choices or ())


def check_mode(key: str, mode: str, scope: MicroscopeConfig) -> None:
    """Check that the microscope has a mode; `ValueError` if it has not.

    Parameters
    ----------
    key
        Where the mode is asked for, like `live.mode`.
    """
    if mode not in scope.modes:
        raise ValueError(f"`{key}`: {refused(mode, scope.modes)}")


def check_scored(whole: Whole, mode: str, who: str) -> None:
    """Check that frames of a mode have a score; `ValueError` if they have not.

    Parameters
    ----------
    whole
        The config.
    mode
        Its name.
    who
        Reads the score, for messages.
    """
    scored = whole.scored_modes()
    if mode in scored:
        return
    if not whole.analysis.score:
        raise ValueError(f"`analysis.score`: must be true, `{who}` reads the score")
    raise ValueError(
        f"`analysis.modes`: {', '.join(scored) or 'none'}, but `{who}` reads the score of {mode}; "
        f"accepted: {mode} among them"
    )


def check_edges(name: str, edges: object, scope: MicroscopeConfig) -> None:
    """Check what a plan of one's own can be told; `ValueError` where that cannot be sent.

    Parameters
    ----------
    name
        Of a setting.
    edges
        The range or the choices that it may be told to have.
    scope
        The microscope's config.
    """
    if name not in scope.settings:
        said = refusals.unknown(name, scope.settings, "setting")
        raise ValueError(f"`plan`: may be told {shortened(name)}: {said}")
    setting = scope.settings[name]
    accepted = f"{list(setting.range or setting.choices or ())}, or a part of it"
    if not _fit(setting, edges):
        raise ValueError(f"`plan`: may be told `{name}`: {refused(edges, accepted)}")


def _fit(setting: SettingConfig, edges: object) -> bool:
    if not isinstance(edges, list | tuple):
        return False
    if setting.choices is not None:
        return bool(edges) and all(edge in setting.choices for edge in edges)
    finite = all(isinstance(edge, int | float) and abs(edge) < math.inf for edge in edges)
    return (
        finite
        and len(edges) == 2
        and not any(setting.refusal(edge) for edge in edges)
        and edges[0] <= edges[1]
    )


def unknown(key: str, kind: str, known: Collection[str]) -> str:
    """The refusal of a name that the config does not have."""
    return f"`{key}`: {refusals.unknown(key.rpartition('.')[2], known, kind)}"
