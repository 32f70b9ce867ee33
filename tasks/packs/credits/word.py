"""What the ledger takes and what it tells; pure. All amounts are whole cents, all moments RFC 3339 in UTC."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

#: Cents that one transfer moves at most, and that an account holds at most.
MAX_CENTS = 10**12
MAX_BALANCE = 10**15

Account = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:+-][A-Za-z0-9_.:+@-]{0,99}\Z", examples=["user-42"])]
Cents = Annotated[int, Meta(ge=1, le=MAX_CENTS, description="whole cents")]
#: A job's id in an address.
JobId = Annotated[str, Meta(pattern=r"\A[0-9a-zA-Z-]{1,36}\Z")]
Reason = Annotated[str, Meta(max_length=500)]
#: One transfer is made for a key of an account, however many jobs ask for it; without one, one for each job.
Key = Annotated[str, Meta(min_length=1, max_length=150)]

Kind = Literal["grant", "deduct", "expire"]


class Wish(Struct, frozen=True, kw_only=True):
    """A transfer that is asked for. `expires_at`: milliseconds since the epoch, of a grant that does not stay."""

    key: str
    job_id: str
    kind: Kind
    account: str
    cents: int
    reason: str = ""
    expires_at: int | None = None


class Transfer(Struct, frozen=True, kw_only=True):
    """A transfer in the ledger; `balance` is what the account had after it. A refused one moved nothing."""

    id: int
    job_id: str
    kind: Kind
    outcome: Literal["made", "refused"]
    account: str
    cents: int
    balance: int
    reason: str
    expires_at: str | None
    at: str


class Expiring(Struct, frozen=True):
    """So many cents are gone at that moment, unless they are spent before."""

    cents: int
    at: str


class Balance(Struct, frozen=True, kw_only=True):
    """What an account can spend now; `expiring`: the parts that will not stay, soonest first, 100 at most."""

    account: str
    cents: int
    expiring: list[Expiring]


class Line(Struct, frozen=True, kw_only=True):
    """A transfer as its account sees it: `cents` has a sign."""

    transfer_id: int
    job_id: str
    kind: Kind
    cents: int
    balance: int
    reason: str
    at: str


class Statement(Struct, frozen=True, kw_only=True):
    """An account's lines, newest first; `before` of the next page, or None on the last one."""

    account: str
    lines: list[Line]
    next_before: int | None


class StatementQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: only transfers with a smaller id."""

    before: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Expired(Struct, frozen=True):
    """What an `expire` did."""

    grants: int
    cents: int


class Audit(Struct, frozen=True, kw_only=True):
    """The books: what was issued is what was spent, has expired and is held. `faults` says where it is not so."""

    balanced: bool
    accounts: int
    transfers: int
    issued: int
    spent: int
    expired: int
    held: int
    faults: list[str]
