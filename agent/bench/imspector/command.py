"""`python -m agent.bench.imspector.command PORT ARGUMENT…`: stedfast with a double for Imspector.

The double is that of another process, which listens at a port of this computer.
"""

from __future__ import annotations

import sys

from agent.bench.imspector.client import specpy_of
from agent.bench.imspector.wire import Remote
from agent.cli import main

if __name__ == "__main__":
    port = int(sys.argv.pop(1))
    with specpy_of(Remote(port)):
        main()
