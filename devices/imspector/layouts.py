"""Where Imspector keeps what: its paths changed with its versions."""

from __future__ import annotations

from dataclasses import dataclass

from devices.imspector.values import Values

_SCAN = "ExpControl/scan/range"
_MEASUREMENT = "ExpControl/measurement"
_LINES = "ExpControl/gating/linesteps"


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
        Line accumulations of each step, a list.
    lines_on
        Whether they are used at all.
    steps_active
        Which steps are scanned, a list.
    line_steps
        Which of them a channel is scanned in, a list; None where all share their settings.
    repetitions
        How often all steps are scanned; None where it is not known.
    gain, gate_active, gate_delay, gate_width
        Of a channel's detector; times in s. None where they are not known.
    pixels_used
        How many pixels are really scanned; None where it is not known.
    scan_mode, scan_axes
        Which axes are scanned; None likewise.
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
    lines: str
    lines_on: str
    steps_active: str
    line_steps: str | None
    repetitions: str | None
    gain: str | None
    gate_active: str | None
    gate_delay: str | None
    gate_width: str | None
    pixels_used: str | None
    scan_mode: str | None
    scan_axes: str | None
    coarse: str
    groups: tuple[str, ...]
    pixel_size: str = f"{_SCAN}/A/psz"
    length: str = f"{_SCAN}/A/len"
    pixels: str = f"{_SCAN}/A/res"

    @property
    def not_mapped(self) -> tuple[str, ...]:
        """What is known of other generations, and not of this one, in words.

        Examples
        --------
        >>> LAYOUTS[0].not_mapped, LAYOUTS[1].not_mapped[:2]
        ((), ('detector gain', 'detector gate'))
        """
        words = {
            "detector gain": self.gain,
            "detector gate": self.gate_delay,
            "channels": self.channels,
            "whether a laser is used": self.active,
            "scan mode": self.scan_mode,
        }
        return tuple(what for what, path in words.items() if path is None)

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
        lines_on=f"{_MEASUREMENT}/line_steps/active",
        steps_active=f"{_MEASUREMENT}/line_steps/step_active",
        repetitions=f"{_MEASUREMENT}/line_steps/repetitions_used",
        line_steps=f"{_CHANNEL}/steps/linestep_active",
        gain=f"{_CHANNEL}/detsel/gain/calibrated",
        gate_active=f"{_CHANNEL}/gating/active",
        gate_delay=f"{_CHANNEL}/gating/delay",
        gate_width=f"{_CHANNEL}/gating/width",
        pixels_used=f"{_SCAN}/A/res_used",
        scan_mode=f"{_SCAN}/scanmode",
        scan_axes="Measurement/axes/scan_axes",
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
        lines=f"{_LINES}/step_values",
        lines_on=f"{_LINES}/on",
        steps_active=f"{_LINES}/steps_active",
        line_steps=None,
        repetitions=None,
        gain=None,
        gate_active=None,
        gate_delay=None,
        gate_width=None,
        pixels_used=None,
        scan_mode=None,
        scan_axes=None,
        coarse=f"{_SCAN}/offsets/coarse/A/g_off",
        groups=("ExpControl/lasers", "ExpControl/scan", _LINES),
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
