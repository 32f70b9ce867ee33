"""The ledger's tasks. A job moves credits at most once, however often it runs; a `key` makes that hold for all jobs
that carry it."""

from __future__ import annotations

from datetime import datetime

from tasks import Context, FatalError, schedule, task
from tasks.errors import NotFound
from tasks.packs.credits import ledger, reading
from tasks.packs.credits.word import Account, Audit, Balance, Cents, Expired, Key, Kind, Reason, Transfer, Wish

QUEUE = "credits"
#: Accounts that are looked up at a time for what has expired.
_BATCH = 200


@task(name="tasks.credits.grant", queue=QUEUE, bind=True, max_retries=10, retry_backoff=1, retry_backoff_max=60)
async def grant(
    context: Context,
    account: Account,
    cents: Cents,
    reason: Reason = "",
    expires_at: datetime | None = None,
    key: Key | None = None,
) -> Transfer:
    """Give credits to an account, which its first transfer opens; with `expires_at` they do not stay."""
    if expires_at is not None and expires_at.tzinfo is None:
        raise FatalError("expires_at needs a time zone: 2027-01-31T00:00:00Z")
    ends = None if expires_at is None else int(expires_at.timestamp() * 1000)
    return await ledger.grant(_wish(context, "grant", account, cents, key, reason=reason, expires_at=ends))


@task(name="tasks.credits.deduct", queue=QUEUE, bind=True, max_retries=10, retry_backoff=1, retry_backoff_max=60)
async def deduct(
    context: Context, account: Account, cents: Cents, reason: Reason = "", key: Key | None = None
) -> Transfer:
    """Take credits from an account, those first that expire first. It fails for good where there are not so many."""
    made = await ledger.deduct(_wish(context, "deduct", account, cents, key, reason=reason))
    if made.outcome == "refused":
        raise FatalError(f"{account} had {made.balance} cents, which is less than {cents}: nothing was deducted")
    return made


@task(name="tasks.credits.balance", queue=QUEUE, max_retries=3, retry_backoff=1)
async def balance(account: Account) -> Balance:
    """What an account can spend now."""
    try:
        return await reading.balance(account)
    except NotFound as error:
        raise FatalError(error.detail) from error


@schedule(cron="5 * * * *")
@task(name="tasks.credits.expire", queue=QUEUE, bind=True, max_retries=3, concurrency=1)
async def expire(context: Context, account: Account | None = None) -> Expired:
    """Take what has expired from one account, or from all. Nobody can spend it before that either."""
    grants = cents = 0
    while names := [account] if account is not None else await ledger.with_lapsed(_BATCH):
        for name in names:
            context.check()
            done = await ledger.expire(name, context.idempotency_key)
            grants, cents = grants + done.grants, cents + done.cents
        context.progress(grants, message=f"{cents} cents of {grants} grants have expired")
        if account is not None:
            break
    return Expired(grants, cents)


@schedule(cron="35 3 * * *")
@task(name="tasks.credits.audit", queue=QUEUE, max_retries=3)
async def audit() -> Audit:
    """Add the whole ledger up. It fails for good, with what is wrong, unless everything balances to the cent."""
    found = await reading.audit()
    if not found.balanced:
        raise FatalError("; ".join(found.faults))
    return found


def _wish(context: Context, kind: Kind, account: str, cents: int, key: str | None, **fields: object) -> Wish:
    # No account holds a slash: two pairs of account and key never make one.
    once = f"job:{context.idempotency_key}" if key is None else f"key:{account}/{key}"
    job = context.idempotency_key
    return Wish(key=once, job_id=job, kind=kind, account=account, cents=cents, **fields)  # type: ignore[arg-type]  # named by the callers
