"""Where Imspector keeps what: its paths changed with its versions."""

from __future__ import annotations

from dataclasses import dataclass

from devices.imspector.values import Values

_SCAN = "ExpControl/scan/range"
_MEASUREMENT = "ExpControl/measurement"
_LINES = "ExpControl/gating/linesteps"
_PIXELS = f"{_MEASUREMENT}/pixel_steps"


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
        Time on a pixel (s); of a channel, whose light may be on for all of its lines.
    pixel_times, pixel_steps, pixel_steps_on
        Time on a pixel in each pixel step (s), a list; which of them are scanned, and whether more
        than one is. None where `dwell` itself is set.
    power
        Of a laser, in the units of its calibration.
    active
        Whether a laser is used; None where its power alone says so.
    lasers
        A list with an entry for each laser.
    channels
        A list with an entry for each channel; None where all share their lasers and their dwell.
    recorded
        Which detectors are recorded, a list of flags; None where `channels` says so.
    lines
        Line accumulations of each step, a list.
    lines_on
        Whether they are used at all.
    steps_active
        Which steps are scanned, a list.
    line_steps
        Which of them a channel is scanned in, a list.
    lines_detectors
        Which detectors are recorded in each step, a list of lists; None where `line_steps` says it.
    repetitions
        How often all steps are scanned; None where it is not known.
    gain, gain_calibration
        Of a channel's detector, and the name of its calibration: empty where there is no gain.
    gate_active, gate_delay, gate_width
        Of a channel's detector; times in s. None where they are not known.
    gate_delays
        The same of all detectors, a list.
    rescue
        What ends the light of a channel early, where the sample is dark or bright enough.
    pixels_used
        How many pixels are really scanned; None where it is not known.
    scan_mode, scan_axes
        Which axes are scanned, in words or as a number.
    coarse
        Position of the stage (m).
    fine
        How far the field lies off it, by the scanner alone (m).
    pinhole, pinhole_used
        Its diameter as it was set, and as it is (m).
    groups
        Below which all of these are, but the stage: each is read at once.
    """

    versions: str
    tell: str
    dwell: str
    pixel_times: str | None
    pixel_steps: str | None
    pixel_steps_on: str | None
    power: str
    active: str | None
    lasers: str
    channels: str | None
    recorded: str | None
    lines: str
    lines_on: str
    steps_active: str
    line_steps: str | None
    lines_detectors: str | None
    repetitions: str | None
    gain: str | None
    gain_calibration: str | None
    gate_active: str | None
    gate_delay: str | None
    gate_width: str | None
    gate_delays: str | None
    rescue: str
    pixels_used: str | None
    scan_mode: str
    coarse: str
    groups: tuple[str, ...]
    scan_axes: str = "Measurement/axes/scan_axes"
    pixel_size: str = f"{_SCAN}/A/psz"
    length: str = f"{_SCAN}/A/len"
    pixels: str = f"{_SCAN}/A/res"
    fine: str = f"{_SCAN}/A/off"
    pinhole: str = "Pinhole/pinhole_size"
    pinhole_used: str = "Pinhole/size_used"

    @property
    def not_mapped(self) -> tuple[str, ...]:
        """What is known of other generations, and not of this one, in words.

        Examples
        --------
        >>> LAYOUTS[0].not_mapped, LAYOUTS[1].not_mapped[:2]
        ((), ('detector gain', 'width of the detector gate'))
        """
        words = {
            "detector gain": self.gain,
            "width of the detector gate": self.gate_width,
            "a dwell time, a power and line accumulations of each channel": self.channels,
            "whether a laser is used": self.active,
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
        pixel_times=f"{_PIXELS}/step_duration",
        pixel_steps=f"{_PIXELS}/step_active",
        pixel_steps_on=f"{_PIXELS}/active",
        power=f"{_CHANNEL}/lasers/M/power/calibrated",
        active=f"{_CHANNEL}/lasers/M/active",
        lasers=f"{_MEASUREMENT}/channels/0/lasers",
        channels=f"{_MEASUREMENT}/channels",
        recorded=None,
        lines=f"{_MEASUREMENT}/line_steps/step_duration",
        lines_on=f"{_MEASUREMENT}/line_steps/active",
        steps_active=f"{_MEASUREMENT}/line_steps/step_active",
        repetitions=f"{_MEASUREMENT}/line_steps/repetitions_used",
        line_steps=f"{_CHANNEL}/steps/linestep_active",
        lines_detectors=None,
        gain=f"{_CHANNEL}/detsel/gain/calibrated",
        gain_calibration=f"{_CHANNEL}/detsel/gain/calibration_used",
        gate_active=f"{_CHANNEL}/gating/active",
        gate_delay=f"{_CHANNEL}/gating/delay",
        gate_width=f"{_CHANNEL}/gating/width",
        gate_delays=None,
        rescue=f"{_CHANNEL}/rescue",
        pixels_used=f"{_SCAN}/A/res_used",
        scan_mode=f"{_SCAN}/scanmode",
        coarse=f"{_SCAN}/coarse_A/g_off",
        groups=(_MEASUREMENT, _SCAN),
    ),
    Layout(
        versions="14 to early 16",
        tell="ExpControl/scan/dwelltime",
        dwell="ExpControl/scan/dwelltime",
        pixel_times=None,
        pixel_steps=None,
        pixel_steps_on=None,
        power="ExpControl/lasers/power_calibrated/M/value/calibrated",
        active=None,
        lasers="ExpControl/lasers/power_calibrated",
        channels=None,
        recorded=f"{_LINES}/chans_enabled",
        lines=f"{_LINES}/step_values",
        lines_on=f"{_LINES}/on",
        steps_active=f"{_LINES}/steps_active",
        line_steps=None,
        lines_detectors=f"{_LINES}/chans_on",
        repetitions=None,
        gain=None,
        gain_calibration=None,
        gate_active=None,
        gate_delay=None,
        gate_width=None,
        gate_delays="ExpControl/gating/pulses/pulse_chan/delay",
        rescue="ExpControl/rescue/channels/N",
        pixels_used=None,
        scan_mode=f"{_SCAN}/mode",
        coarse=f"{_SCAN}/offsets/coarse/A/g_off",
        groups=("ExpControl/lasers", "ExpControl/scan", "ExpControl/gating"),
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
