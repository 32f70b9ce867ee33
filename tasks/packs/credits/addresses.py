"""The ledger over HTTP: balances, statements, what a job did, the books."""

from __future__ import annotations

from tasks.address import address
from tasks.packs.credits import reading
from tasks.packs.credits.word import Account, Audit, Balance, JobId, Statement, StatementQuery, Transfer


@address("GET", "/api/credits/accounts/{account}")
async def read_account(account: Account) -> Balance:
    """What an account can spend now."""
    return await reading.balance(account)


@address("GET", "/api/credits/accounts/{account}/statement")
async def read_statement(account: Account, query: StatementQuery) -> Statement:
    """An account's transfers, newest first."""
    return await reading.statement(account, query)


@address("GET", "/api/credits/jobs/{job_id}/transfers")
async def read_transfer(job_id: JobId) -> list[Transfer]:
    """What a job moved, or was refused."""
    return await reading.transfers(job_id)


@address("GET", "/api/credits/audit")
async def read_audit() -> Audit:
    """Whether the books balance to the cent."""
    return await reading.audit()
