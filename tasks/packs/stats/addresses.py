"""The statistics over HTTP."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.address import address
from tasks.packs.stats import samples
from tasks.packs.stats.samples import Report, Sample, SampleList, SampleQuery


class ReportQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back."""

    hours: Annotated[int, Meta(ge=1, le=8760)] = 24


@address("GET", "/api/stats/samples")
async def read_samples(query: SampleQuery) -> SampleList:
    """What was measured, newest first."""
    return await samples.listed(query)


@address("GET", "/api/stats/latest")
async def read_latest() -> Sample:
    """What was measured last."""
    return await samples.latest()


@address("GET", "/api/stats/report")
async def read_report(query: ReportQuery) -> Report:
    """What the samples of the last hours say together."""
    return await samples.report(query.hours)
