"""specpy, whose Imspector is the double of the process that listens at `STEDFAST_IMSPECTOR_PORT`.

The folder stands before all others where Python looks for modules, in every process of a run.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_found = PathFinder.find_spec("specpy", [one for one in sys.path if Path(one) != _HERE])
assert _found is not None and _found.loader is not None
_real: Any = module_from_spec(_found)
sys.modules["specpy"] = _real
_found.loader.exec_module(_real)


def _get_application(host: str = "", port_num: int = 0) -> Any:
    from agent.bench.imspector.client import application_of
    from agent.bench.imspector.wire import Remote

    return application_of(Remote(int(os.environ["STEDFAST_IMSPECTOR_PORT"])), host)


_real.get_application = _get_application
