"""An object that reads weights in its process, and says what that took."""

from __future__ import annotations

import sys


class Reads:
    """Reads the bundled networks."""

    def imported(self) -> list[str]:
        """What was imported for them of what takes long."""
        from models.interpolation import Interpolation
        from models.quality import QualityScorer
        from models.restoration import Restorer

        QualityScorer()
        Interpolation("flow", "cpu")
        Restorer("actin-small", "cpu")
        return [name for name in ("torch._dynamo", "torchmetrics") if name in sys.modules]
