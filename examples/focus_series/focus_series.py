"""A plan of your own: one STED frame at each focus position, and which of them is the best."""

from __future__ import annotations

from pydantic import Field

from agent.config import PlanSection, RunConfig, Whole
from agent.plan import Frame, Note, Plan, apply_told
from devices.config import MicroscopeConfig, Value
from devices.fields import grid
from devices.shot import Field as Place
from devices.shot import Shot


class FocusSeries(PlanSection):
    """`plan: focus_series`: the section of the config that says how."""

    from_um: float = Field(description="first focus position (µm)")
    to_um: float = Field(description="last focus position (µm)")
    frames: int = Field(11, ge=2, le=1000, description="focus positions, evenly spaced")
    field: int = Field(0, ge=0, description="number of the field, of `microscope.fields`")

    def check(self, whole: Whole) -> None:
        """What this plan needs of the rest of the config."""
        fields = whole.microscope.fields.count
        if self.field >= fields:
            raise ValueError(
                f"`focus_series.field`: {self.field}, but `microscope.fields` has {fields}"
            )
        if "sted" not in whole.microscope.modes:
            raise ValueError("`microscope.modes`: no mode 'sted', which `focus_series` images in")
        if not whole.scores:
            raise ValueError("`analysis.score`: must be true, `focus_series` reads the score")
        for key, z_um in (("from_um", self.from_um), ("to_um", self.to_um)):
            if why := whole.microscope.stage_limits.refusal(None, None, z_um):
                raise ValueError(f"`focus_series.{key}`: {why}")

    def focuses(self) -> bool:
        """It moves the focus, not only the stage."""
        return True

    def planned_frames(self) -> int:
        """One at each position."""
        return self.frames

    def fewest_frames_of_a_field(self) -> float:
        """All are of one field."""
        return float(self.frames)

    def listens(self) -> bool:
        """Before each frame."""
        return True

    def adjustable(self, scope: MicroscopeConfig) -> list[str]:
        """A person may change what the mode does not pin: `stedfast tell RUN NAME=VALUE`."""
        return [name for name in scope.settings if name not in scope.modes["sted"]]

    def positions_um(self) -> list[float]:
        """Where the frames are taken (µm)."""
        step = (self.to_um - self.from_um) / (self.frames - 1)
        return [self.from_um + step * number for number in range(self.frames)]


def focus_series(section: FocusSeries, run: RunConfig) -> Plan:
    """Take and score a frame at each position; note each, and the best of them."""
    at = grid(run.microscope.fields)[section.field]
    settings: dict[str, Value] = {}
    scores: list[tuple[float, float]] = []
    for z_um in section.positions_um():
        yield from apply_told(settings, z_um=z_um)
        place = Place(at.index, at.x_um, at.y_um, z_um)
        frame = yield Shot.sted(place, dict(settings), f"focus {z_um:g} µm")
        assert isinstance(frame, Frame)
        scores.append((frame.score, z_um))
        yield Note("focus", {"z_um": z_um, "score": frame.score})
    score, z_um = max(scores)
    yield Note("best focus", {"z_um": z_um, "score": score})
