"""What a deployment says of its statistics; the variable of each field is its name in capitals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.pack import Pack
from tasks.packs.stats.smoke import smoke
from tasks.packs.stats.tables import DATABASE


class Settings(Struct, frozen=True, kw_only=True):
    """The folder whose disk is measured, and how many days samples are kept."""

    stats_disk: str = "."
    stats_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30


STATS = Pack("stats", Settings, database=DATABASE, smoke=smoke)
