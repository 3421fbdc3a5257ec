"""An object that reads weights in its process, and says what that took."""

from __future__ import annotations

import sys


class Reads:
    """Reads the bundled networks."""

    def compiler_needed(self) -> bool:
        """Whether torch's compiler was imported for them."""
        from models.interpolation import Interpolation
        from models.restoration import Restorer

        Interpolation("flow", "cpu")
        Restorer("actin-small", "cpu")
        return "torch._dynamo" in sys.modules
