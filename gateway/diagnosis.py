"""Why a job does not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway import views
from gateway.call import Call
from gateway.reply import Reply, ok
from tasks.job import State
from tasks.moment import moment


class ReasonView(Struct, frozen=True, kw_only=True):
    """`code` is for machines; `detail` says it with its figures, which stand in `data` as well."""

    code: str
    detail: str
    blocking: Annotated[bool, Meta(description="Whether it keeps the job from going on now")]
    remedy: str | None
    data: dict[str, Any]


class WhyView(Struct, frozen=True, kw_only=True):
    """Why a job does not run, or did not end: what weighs most stands first. Never empty."""

    id: views.Id
    status: State
    at: views.Moment
    reasons: Sequence[ReasonView]


async def why(call: Call) -> Reply:
    found = await call.control.why(call.job_id)
    reasons = [
        ReasonView(
            code=reason.code,
            detail=reason.detail,
            blocking=reason.blocking,
            remedy=reason.remedy,
            data=dict(reason.data),
        )
        for reason in found.reasons
    ]
    return ok(WhyView(id=found.job.id, status=found.job.status, at=moment(found.now), reasons=reasons))
