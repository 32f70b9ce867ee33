"""What the addresses take and answer; moments are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tasks.packs.citations.platforms import PlatformName

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Brand = Annotated[str, Meta(max_length=200)]
Domains = Annotated[list[Annotated[str, Meta(max_length=253)]], Meta(min_length=1, max_length=50)]
#: PostgreSQL's unique index takes so many characters of any kind.
Text = Annotated[str, Meta(min_length=1, max_length=600)]
Priority = Literal["P0", "P1", "P2"]
Limit = Annotated[int, Meta(ge=1, le=200)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class NewProject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`id` is one's own, or made. A citation counts by `domains`: those hosts and all below them."""

    name: Name
    domains: Domains
    brand: Brand = ""
    active: bool = True
    id: Id | None = None


class ProjectChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    name: Name | None = None
    domains: Domains | None = None
    brand: Brand | None = None
    active: bool | None = None


class Project(Struct, frozen=True, kw_only=True):
    """`citation_rate`: the share of the last 30 days' answers that cite it, as of `rated_at`; null without any."""

    id: str
    name: str
    brand: str
    domains: list[str]
    active: bool
    citation_rate: float | None
    rated_at: str | None
    created_at: str


class ProjectQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after` is the last id already seen."""

    id: Id | None = None
    active: bool | None = None
    after: Id | None = None
    limit: Limit = 50


class ProjectPage(Struct, frozen=True):
    projects: list[Project]


class NewPrompt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """P0 and P1 are scanned daily, all weekly."""

    text: Text
    priority: Priority = "P1"


class PromptChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    text: Text | None = None
    priority: Priority | None = None


class Prompt(Struct, frozen=True, kw_only=True):
    id: int
    project_id: str
    text: str
    priority: Priority
    created_at: str


class PromptQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    priority: Priority | None = None
    after: Number = 0
    limit: Limit = 50


class PromptPage(Struct, frozen=True):
    prompts: list[Prompt]


class NewScan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`platforms`: by default all that are configured."""

    prompt_text: Text
    platforms: Annotated[list[PlatformName], Meta(min_length=1, max_length=20)] | None = None


class ScanStarted(Struct, frozen=True):
    job_id: str


class Scan(Struct, frozen=True, kw_only=True):
    """`own`: how many of its citations are the project's; `cost` in US dollars, null where nobody tells it."""

    id: int
    job_id: str
    prompt_id: int | None
    prompt_text: str
    platform: str
    state: Literal["answered", "failed"]
    error: str | None
    citations: int
    own: int
    names_brand: bool | None
    tokens_read: int | None
    tokens_written: int | None
    cost: float | None
    scanned_at: str


class ScanQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Newest first; `before` is the last id already seen."""

    platform: PlatformName | None = None
    state: Literal["answered", "failed"] | None = None
    job_id: Id | None = None
    before: Number | None = None
    limit: Limit = 50


class ScanPage(Struct, frozen=True):
    scans: list[Scan]


class Citation(Struct, frozen=True, kw_only=True):
    """`position` counts an answer's pages from 1; `own`: it counts for the project."""

    scan_id: int
    platform: str
    prompt_text: str
    position: int
    url: str
    host: str
    title: str
    own: bool
    scanned_at: str


class CitationQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those of the newest scans first: of `limit` scans, older than the scan `before`."""

    platform: PlatformName | None = None
    own: bool | None = None
    job_id: Id | None = None
    before: Number | None = None
    limit: Limit = 50


class CitationPage(Struct, frozen=True):
    """`before` asks for the next page; null at the end."""

    citations: list[Citation]
    before: int | None
