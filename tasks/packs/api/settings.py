"""What a deployment says of calls to the outside; the variable of each field is its name in capitals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.clients import guard
from tasks.errors import ConfigurationError
from tasks.pack import Pack
from tasks.packs.api.smoke import smoke


class Settings(Struct, frozen=True, kw_only=True):
    """Hosts, host:port or networks that may be called though they are not public; seconds and bytes that an answer may
    take; the pause before a second try (then twice that), which Retry-After may lengthen up to `api_patience`; a PEM
    file in place of the usual certificate authorities; what the smoke test calls."""

    api_allow: tuple[str, ...] = ()
    api_timeout: Annotated[float, Meta(gt=0, le=280)] = 30.0
    api_max_bytes: Annotated[int, Meta(ge=1, le=8 << 20)] = 256 << 10
    api_retry_wait: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    api_patience: Annotated[float, Meta(ge=0, le=86400)] = 3600.0
    api_authorities: str = ""
    api_smoke_url: str = "https://example.com/"


def _told(settings: Settings) -> None:
    try:
        guard.check_allowed(settings.api_allow)
    except ConfigurationError as error:
        raise ConfigurationError(f"API_ALLOW: {error.detail}") from error


API = Pack("api", Settings, told=_told, smoke=smoke)
