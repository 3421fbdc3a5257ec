"""What an optional part needs, and how to install it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

_OWN = "stedfast"


def install(extra: str) -> str:
    """The command that installs what an extra of this distribution needs.

    The packages themselves are named, since this distribution need not be on any index.
    """
    try:
        wanted = requires(_OWN) or []
    except PackageNotFoundError:  # the code runs from where it lies
        wanted = []
    packages = [
        line.partition(";")[0].strip()
        for line in wanted
        if re.search(rf"extra == ['\"]{extra}['\"]", line) and not line.startswith(_OWN)
    ]
    named = " ".join(f'"{package}"' for package in packages) or f'-e ".[{extra}]"'
    return f"python -m pip install {named}"
