"""What a deployment may set for the back-office."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Settings(Struct, frozen=True, kw_only=True):
    """`backoffice_session_ttl`: seconds that a session stays open untouched, where its opener says nothing else."""

    backoffice_session_ttl: Annotated[int, Meta(ge=1, le=31_622_400)] = 3600
