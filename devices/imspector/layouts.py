"""Where Imspector keeps what: its paths changed with its versions."""

from __future__ import annotations

from dataclasses import dataclass

from devices.imspector.values import Values

_SCAN = "ExpControl/scan/range"
_MEASUREMENT = "ExpControl/measurement"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one generation; N stands for a channel, M for a laser, A for an axis, S for a step.

    Parameters
    ----------
    versions
        Of Imspector, for a person.
    tell
        A path that only this generation has.
    dwell
        Time on a pixel (s).
    power
        Of a laser, in the units of its calibration.
    active
        Whether a laser is used; None where its power alone says so.
    lasers
        A list with an entry for each laser.
    channels
        A list with an entry for each channel; None where all share their settings.
    lines
        Line accumulations of a step; None where they are not known.
    line_steps
        Which steps a channel is scanned in, a list; None likewise.
    gain, gate_active, gate_delay, gate_width
        Of a channel's detector; times in s. None where they are not known.
    coarse
        Position of the stage (m).
    groups
        Below which all of these are, but the stage: each is read at once.
    """

    versions: str
    tell: str
    dwell: str
    power: str
    active: str | None
    lasers: str
    channels: str | None
    lines: str | None
    line_steps: str | None
    gain: str | None
    gate_active: str | None
    gate_delay: str | None
    gate_width: str | None
    coarse: str
    groups: tuple[str, ...]
    pixel_size: str = f"{_SCAN}/A/psz"
    length: str = f"{_SCAN}/A/len"
    pixels: str = f"{_SCAN}/A/res"

    def at(self, template: str, *, channel: int = 0, laser: int = 0, axis: str = "x") -> str:
        """A path with its numbers.

        Examples
        --------
        >>> LAYOUTS[0].at(LAYOUTS[0].dwell, channel=1)
        'ExpControl/measurement/channels/1/dwelltime'
        """
        numbers = {"N": str(channel), "M": str(laser), "A": axis}
        return "/".join(
            part.replace("A", axis) if part == "coarse_A" else numbers.get(part, part)
            for part in template.split("/")
        )


_CHANNEL = f"{_MEASUREMENT}/channels/N"

LAYOUTS = (
    Layout(
        versions="16.3 and later",
        tell=f"{_MEASUREMENT}/channels/0/dwelltime",
        dwell=f"{_CHANNEL}/dwelltime",
        power=f"{_CHANNEL}/lasers/M/power/calibrated",
        active=f"{_CHANNEL}/lasers/M/active",
        lasers=f"{_MEASUREMENT}/channels/0/lasers",
        channels=f"{_MEASUREMENT}/channels",
        lines=f"{_MEASUREMENT}/line_steps/step_duration",
        line_steps=f"{_CHANNEL}/steps/linestep_active",
        gain=f"{_CHANNEL}/detsel/gain/calibrated",
        gate_active=f"{_CHANNEL}/gating/active",
        gate_delay=f"{_CHANNEL}/gating/delay",
        gate_width=f"{_CHANNEL}/gating/width",
        coarse=f"{_SCAN}/coarse_A/g_off",
        groups=(_MEASUREMENT, _SCAN),
    ),
    Layout(
        versions="14 to early 16",
        tell="ExpControl/scan/dwelltime",
        dwell="ExpControl/scan/dwelltime",
        power="ExpControl/lasers/power_calibrated/M/value/calibrated",
        active=None,
        lasers="ExpControl/lasers/power_calibrated",
        channels=None,
        lines=None,
        line_steps=None,
        gain=None,
        gate_active=None,
        gate_delay=None,
        gate_width=None,
        coarse=f"{_SCAN}/offsets/coarse/A/g_off",
        groups=("ExpControl/lasers", "ExpControl/scan"),
    ),
)


def layout_of(values: Values) -> Layout:
    """Which generation a system has, found out by reading.

    Raises
    ------
    RuntimeError
        None that is known; names the paths that were tried.
    """
    said = []
    for layout in LAYOUTS:
        try:
            values.get(layout.tell)
        except RuntimeError as error:
            said.append(f"{layout.tell} ({error})")
            continue
        return layout
    raise RuntimeError(f"none of the known paths is there: {'; '.join(said)}")
