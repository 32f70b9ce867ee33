"""The smoke test: a letter to the sender himself."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.smoke import Smoke


def smoke(gateway: Smoke) -> Iterator[str]:
    told = gateway.get("/api/mail/sender")
    gateway.needs(told["lacks"])
    sender = told["sender"].rpartition("<")[2].rstrip(">")
    made = gateway.post(
        "/api/v1/jobs", {"task": "tasks.email.send_email", "args": [sender, "Jobgate's smoke test", "It works."]}
    )
    done = gateway.wait(made["id"])
    gateway.check(done["sent"] == [sender], f"the server took it for {sender}")
    (row,) = gateway.get(f"/api/mail/jobs/{made['id']}/deliveries")
    gateway.check(row["outcome"] == "sent", "it is written down")
    yield f"{told['host']} took {row['message_id']} for {sender}: {row['code']} {row['reply']}"
