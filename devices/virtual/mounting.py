"""How the virtual camera lies on the virtual stage, which is not always as one would wish."""

from __future__ import annotations

import math
from dataclasses import dataclass

from devices.affine import Affine


@dataclass(frozen=True, slots=True)
class Mounting:
    """A camera on a stage.

    Parameters
    ----------
    rotation_deg
        How far the camera's lines are turned from the stage's x towards its y (°).
    mirrored
        Its rows run the other way, before it is turned.
    scale
        How far the stage goes for each µm that it is told to.
    """

    rotation_deg: float = 0.0
    mirrored: bool = False
    scale: float = 1.0

    def on_sample(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Where the field's centre is on the sample, along the frame's columns and rows (µm)."""
        cos, sin = self._turn
        along, across = cos * x_um + sin * y_um, cos * y_um - sin * x_um
        return self.scale * along, self.scale * (-across if self.mirrored else across)

    @property
    def spread(self) -> float:
        """Farthest that the field goes along either axis while the stage stays within ±1 µm."""
        cos, sin = self._turn
        return self.scale * (abs(cos) + abs(sin))

    def affine(self, pixel_um: float) -> Affine:
        """What a calibration should find; never read by the agent."""
        return Affine.mounted(
            pixel_um / self.scale, rotation_deg=self.rotation_deg, mirrored=self.mirrored
        )

    @property
    def _turn(self) -> tuple[float, float]:
        angle = math.radians(self.rotation_deg)
        return math.cos(angle), math.sin(angle)
