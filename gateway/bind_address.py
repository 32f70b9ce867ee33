"""The check of HOST before the gateway listens: who can reach it, and whether the API keys are fit for that."""

from __future__ import annotations

import logging

from executors.settings import Settings, is_loopback
from gateway.api_keys import weaknesses
from tasks.errors import ConfigurationError

log = logging.getLogger("jobgate.gateway")


def check_bind_address(settings: Settings) -> None:
    """Raises ConfigurationError for a wrong key, and where other machines can reach HOST with no key or a weak one."""
    public = not is_loopback(settings.host)
    if public and not settings.api_keys:
        raise ConfigurationError(
            f"HOST={settings.host} can be reached from other machines: set JOBGATE_API_KEYS=name:key:scope,… "
            "or leave HOST at 127.0.0.1"
        )
    weak = "; ".join(weaknesses(settings.api_keys))
    if weak and public:
        raise ConfigurationError(
            f"HOST={settings.host} can be reached from other machines, and JOBGATE_API_KEYS is too weak for that: "
            f"{weak}. Make an entry: jobgate keys new NAME --scope read"
        )
    if weak:
        log.warning("gateway: JOBGATE_API_KEYS is accepted on loopback only: %s", weak)
    if public and not settings.behind_tls:
        log.warning(
            "gateway: HOST=%s is served over plain HTTP: whoever reads the network reads keys, arguments and results; "
            "put a proxy with TLS in front of it and set JOBGATE_BEHIND_TLS=1",
            settings.host,
        )
