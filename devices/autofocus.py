"""What a plan asks of the autofocus device, and what came of it.

The words are Micro-Manager's: a one-shot device looks for the focus when it is asked
(`fullFocus`, `incrementalFocus`), a continuous one keeps it by itself (`enableContinuousFocus`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devices.shot import Field

Using = Literal["full", "incremental", "continuous"]
"""How an autofocus device is used."""


@dataclass(frozen=True, slots=True)
class Autofocus:
    """One search for the focus by the autofocus device.

    Parameters
    ----------
    field
        Where; its `z_um` is where the search begins. None: where the stages are.
    using
        `full` or `incremental`: once; `continuous`: the lock is taken, or seen to hold.
    offset
        Of the device, set before (in its own unit); None leaves it alone.
    offset_device
        Stage that is this offset; None where the device has it itself.
    tries
        How often a search that fails is begun, at most.
    timeout_s
        How long all of that may take (s).
    farthest_um
        How far from where it begins the focus may be found (µm); None: anywhere within
        `stage_limits`.
    point
        Number of the time point that it is for, from 0.
    at_s
        Earliest time after the run's start (s); None: at once.
    start_um
        Where the search begins (µm), if not at the field's `z_um`.
    """

    field: Field | None
    using: Using = "full"
    offset: float | None = None
    offset_device: str | None = None
    tries: int = 1
    timeout_s: float = 10.0
    farthest_um: float | None = None
    point: int | None = None
    at_s: float | None = None
    start_um: float | None = None

    @property
    def begins_um(self) -> float | None:
        """Where it begins (µm); None: where the focus drive is."""
        of_field = None if self.field is None else self.field.z_um
        return of_field if self.start_um is None else self.start_um


@dataclass(frozen=True, slots=True)
class Focused:
    """What came of a search.

    Parameters
    ----------
    z_um
        Where the focus drive is now, as it says itself (µm); None where the search failed.
    from_um
        Where it was before (µm), likewise.
    why
        Why it failed; empty where it did not.
    """

    z_um: float | None = None
    from_um: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """The continuous focus while a frame was taken.

    Parameters
    ----------
    z_um
        Where the focus drive was (µm); None where it did not say.
    why
        Why the lock did not hold; empty where it did.
    """

    z_um: float | None
    why: str = ""
