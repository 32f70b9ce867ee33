"""What a deployment may set for the back-office."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.clients.chat import Endpoint

Seconds = Annotated[float, Meta(gt=0, le=31_622_400)]


class Settings(Struct, frozen=True, kw_only=True):
    """Every field's variable is its name in capitals; docs/packs/backoffice.md explains each. Durations are seconds."""

    backoffice_session_ttl: Annotated[int, Meta(ge=1, le=31_622_400)] = 3600
    backoffice_chat_url: str = ""
    backoffice_chat_key: str = ""
    backoffice_chat_model: str = ""
    backoffice_chat_timeout: Seconds = 120.0
    backoffice_agent_grace: Seconds = 300.0

    def endpoint(self, model: str) -> Endpoint:
        """Where agents' models are; `model` or, where it is empty, the deployment's."""
        return Endpoint(
            base_url=self.backoffice_chat_url,
            model=model or self.backoffice_chat_model,
            key=self.backoffice_chat_key,
            timeout=self.backoffice_chat_timeout,
        )
