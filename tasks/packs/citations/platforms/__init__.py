"""The AI search platforms that prompts can be put to. A new one is a value in a module here, named in this list."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tasks.packs.citations.platforms.chat import COMPATIBLE
from tasks.packs.citations.platforms.cited import YOU
from tasks.packs.citations.platforms.generate import GEMINI
from tasks.packs.citations.platforms.messages import ANTHROPIC
from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source
from tasks.packs.citations.platforms.responses import OPENAI, PERPLEXITY

PLATFORMS = {platform.name: platform for platform in (PERPLEXITY, YOU, OPENAI, ANTHROPIC, GEMINI, COMPATIBLE)}

#: What tasks and addresses take; any other is refused when it is submitted.
PlatformName = Annotated[str, Meta(pattern=f"^({'|'.join(PLATFORMS)})$")]

__all__ = [
    "PLATFORMS",
    "Access",
    "Answer",
    "Platform",
    "PlatformFailed",
    "PlatformName",
    "Request",
    "Source",
]
