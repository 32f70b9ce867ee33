"""What a deployment says of the platforms; the variable of each field is its name in capitals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks import limits
from tasks.errors import ConfigurationError
from tasks.packs.citations.platforms import PLATFORMS, Access

Seconds = Annotated[float, Meta(gt=0, le=280)]


class Settings(Struct, frozen=True, kw_only=True):
    """Of each platform: its key, its base address, its model, how often it may be asked ("50/m"; over all processes),
    and its prices where it does not tell a question's cost itself: US dollars for a million tokens read, a million
    written, one search. Of all: seconds that an answer may take, how often a question is put, the pause before the
    second time (twice that before the third), and the longest wait for a platform's turn."""

    perplexity_api_key: str = ""
    perplexity_base_url: str = "https://api.perplexity.ai"
    perplexity_model: str = "perplexity/sonar"
    perplexity_rate_limit: str = "50/m"
    perplexity_prices: tuple[float, ...] = ()

    you_api_key: str = ""
    you_base_url: str = "https://api.you.com"
    you_rate_limit: str = "50/m"
    you_prices: tuple[float, ...] = ()

    openai_api_key: str = ""
    openai_base_url: str = "https://api.openai.com"
    openai_model: str = "gpt-5.4-mini"
    openai_rate_limit: str = "50/m"
    openai_prices: tuple[float, ...] = ()

    anthropic_api_key: str = ""
    anthropic_base_url: str = "https://api.anthropic.com"
    anthropic_model: str = "claude-sonnet-5"
    anthropic_rate_limit: str = "50/m"
    anthropic_prices: tuple[float, ...] = ()

    gemini_api_key: str = ""
    gemini_base_url: str = "https://generativelanguage.googleapis.com"
    gemini_model: str = "gemini-3.8-flash"
    gemini_rate_limit: str = "10/m"
    gemini_prices: tuple[float, ...] = ()

    compatible_api_key: str = ""
    compatible_base_url: str = ""
    compatible_model: str = "default"
    compatible_rate_limit: str = "50/m"
    compatible_prices: tuple[float, ...] = ()

    citations_timeout: Seconds = 60.0
    citations_tries: Annotated[int, Meta(ge=1, le=10)] = 3
    citations_pause: Annotated[float, Meta(ge=0, le=60)] = 1.0
    citations_patience: Annotated[float, Meta(ge=0, le=280)] = 30.0


def access(settings: Settings, name: str) -> Access | None:
    """How a platform is reached, or None where this deployment does not say it. Raises ConfigurationError."""
    platform = PLATFORMS[name]
    key, base_url = getattr(settings, f"{name}_api_key"), getattr(settings, f"{name}_base_url")
    if not base_url or (platform.key_needed and not key):
        return None
    return Access(
        key=key,
        base_url=base_url,
        model=getattr(settings, f"{name}_model", ""),
        interval=_interval(name, getattr(settings, f"{name}_rate_limit")),
        prices=_prices(name, getattr(settings, f"{name}_prices")),
    )


def check(settings: Settings) -> None:
    """Refuse at start what the first scan would stumble over. Raises ConfigurationError."""
    for name in PLATFORMS:
        access(settings, name)


def missing(name: str) -> str:
    """The sentence that says what a platform lacks."""
    field = "api_key" if PLATFORMS[name].key_needed else "base_url"
    return f"it is not configured: set {name.upper()}_{field.upper()}"


def _interval(name: str, rate: str) -> float:
    try:
        return limits.interval(rate) or 0.0
    except ConfigurationError as error:
        raise ConfigurationError(f"{name.upper()}_RATE_LIMIT: {error.detail}") from None


def _prices(name: str, prices: tuple[float, ...]) -> tuple[float, ...]:
    if len(prices) not in (0, 3) or any(price < 0 for price in prices):
        words = "takes three prices in US dollars: of a million tokens read, of a million written, of a search"
        raise ConfigurationError(f"{name.upper()}_PRICES {words}")
    return prices
