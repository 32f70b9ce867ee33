"""What this deployment lets its tasks call."""

from __future__ import annotations

from msgspec import Struct

from tasks.address import address
from tasks.packs.api.settings import API


class Policy(Struct, frozen=True, kw_only=True):
    """`allowed`: what may be called though it is not public; seconds and bytes that an answer may take."""

    allowed: tuple[str, ...]
    timeout: float
    max_bytes: int
    smoke_url: str


@address("GET", "/api/external/policy", scope="control")
async def read_policy() -> Policy:
    """What may be called, and how much of it."""
    told = API.settings
    return Policy(
        allowed=told.api_allow, timeout=told.api_timeout, max_bytes=told.api_max_bytes, smoke_url=told.api_smoke_url
    )
