"""From pixels to the stage: the affine that Micro-Manager keeps with a pixel size."""

from __future__ import annotations

import math
from dataclasses import dataclass

Six = tuple[float, float, float, float, float, float]
"""As `getPixelSizeAffine` of Micro-Manager's core gives it, row by row: 2 × 3."""


@dataclass(frozen=True, slots=True)
class Affine:
    """Where on the stage a pixel is.

    What is seen (columns, rows) away from a frame's centre comes to the centre where the stage
    moves by that much times this matrix. Structure that drifts in the image is therefore followed
    with the same sign. The third number of each row is an offset, which no move depends on.

    Parameters
    ----------
    six
        Stage per pixel (µm): x per column, x per row, an offset, y per column, y per row, an
        offset.

    Examples
    --------
    >>> turned = Affine((0.0, 0.02, 0.0, -0.02, 0.0, 0.0))
    >>> turned.stage_um((5.0, 0.0))
    (0.1, 0.0)
    >>> turned.in_words()
    'turned by -90.0° against the stage, not mirrored; 20 nm a pixel'
    """

    six: Six

    @classmethod
    def square(cls, pixel_um: float) -> Affine:
        """Columns along the stage's x, rows along its y, pixels of this side (µm)."""
        return cls((pixel_um, 0.0, 0.0, 0.0, pixel_um, 0.0))

    @classmethod
    def mounted(
        cls, pixel_um: float, *, rotation_deg: float = 0.0, mirrored: bool = False
    ) -> Affine:
        """A camera that is turned against the stage, its rows first mirrored or not."""
        cos, sin = math.cos(math.radians(rotation_deg)), math.sin(math.radians(rotation_deg))
        rows = -pixel_um if mirrored else pixel_um
        return cls((pixel_um * cos, -rows * sin, 0.0, pixel_um * sin, rows * cos, 0.0))

    def times(self, scale: float) -> Affine:
        """The same with pixels that are so many times as large.

        Examples
        --------
        >>> Affine.square(pixel_um=0.02).times(2).pixel_um
        0.04
        """
        a, b, at_x, c, d, at_y = (scale * number for number in self.six)
        return Affine((a, b, at_x, c, d, at_y))

    def stage_um(self, px: tuple[float, float]) -> tuple[float, float]:
        """The move (x, y; µm) that belongs to a distance in the image (rows, columns; px)."""
        a, b, _, c, d, _ = self.six
        rows, columns = px
        return columns * a + rows * b, columns * c + rows * d

    def image_px(self, um: tuple[float, float]) -> tuple[float, float]:
        """The distance in the image (rows, columns; px) that belongs to a move (x, y; µm)."""
        a, b, _, c, d, _ = self.six
        x, y = um
        return (a * y - c * x) / self.determinant, (d * x - b * y) / self.determinant

    @property
    def determinant(self) -> float:
        """Area of a pixel (µm²), negative where the image is mirrored."""
        a, b, _, c, d, _ = self.six
        return a * d - b * c

    @property
    def pixel_um(self) -> float:
        """Side of a pixel (µm), as the stage measures it."""
        return math.sqrt(abs(self.determinant))

    @property
    def mirrored(self) -> bool:
        """The image is a mirror image of what the stage's axes say."""
        return self.determinant < 0

    @property
    def rotation_deg(self) -> float:
        """Direction of a line of the image on the stage, from x towards y (°)."""
        return math.degrees(math.atan2(self.six[3], self.six[0]))

    def unlike(self, other: Affine) -> float:
        """By how much the moves of the two differ at most, relative to this one's pixel size."""
        parts = zip(self.six, other.six, strict=True)
        a, b, _, c, d, _ = (mine - its for mine, its in parts)
        return max(math.hypot(a, c), math.hypot(b, d)) / self.pixel_um

    def in_words(self) -> str:
        """Rotation, mirror and scale."""
        mirror = "mirrored" if self.mirrored else "not mirrored"
        # Adding 0 turns -0.0 into 0.0.
        turned = round(self.rotation_deg, 1) + 0.0
        return (
            f"turned by {turned:.1f}° against the stage, {mirror}; "
            f"{self.pixel_um * 1e3:.4g} nm a pixel"
        )
