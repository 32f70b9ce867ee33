"""Why a job does not run, and what is wrong with the deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from executors.finding import Severity
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


class FindingView(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `done` is what the product does about it by itself; docs/doctor.md
    explains each `code`."""

    code: str
    severity: Severity
    detail: str
    done: str | None
    remedy: str
    data: dict[str, Any]


class DiagnosisView(Struct, frozen=True, kw_only=True):
    """What disagrees, worst first. `status` is the worst severity, or "well"."""

    status: str
    findings: Sequence[FindingView]
    looked_at: Sequence[str]
    not_looked_at: Mapping[str, str]


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


async def examine(call: Call) -> Reply:
    found = await call.control.diagnose()
    findings = [
        FindingView(
            code=finding.code,
            severity=finding.severity,
            detail=finding.detail,
            done=finding.done,
            remedy=finding.remedy,
            data=dict(finding.data),
        )
        for finding in found.findings
    ]
    status = str(findings[0].severity) if findings else "well"
    return ok(
        DiagnosisView(
            status=status, findings=findings, looked_at=found.looked_at, not_looked_at=dict(found.not_looked_at)
        )
    )
