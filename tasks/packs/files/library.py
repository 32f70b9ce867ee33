"""The parsers, imported when the first job needs them: the one place of the pack where an import happens late.

They cost up to 80 MiB and come with the extra `files`; a gateway that runs no such job needs neither.
"""

from __future__ import annotations

import importlib
from typing import Any

from tasks.errors import FatalError


def load(module: str) -> Any:
    """A module of this pack that imports a parser. FatalError, with the remedy, where the parser is not installed."""
    try:
        return importlib.import_module(f"tasks.packs.files.{module}")
    except ImportError as error:
        raise FatalError(f"this process cannot read documents ({error}): install jobgate[files]") from error
