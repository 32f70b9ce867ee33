"""Whether the doctor's look at a Redis tells one with a password from one without."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from executors import celery_probe
from executors.settings import Settings
from tests.support.servers import Redis


def test_a_redis_is_open_until_it_asks_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Redis(tmp_path)
    place = f"127.0.0.1:{server.port}/0"
    try:
        assert not celery_probe.look_at_broker(Settings(broker_url=f"redis://{place}"), []).open, "this machine only"
        monkeypatch.setattr(celery_probe, "is_loopback", lambda host: False)
        assert celery_probe.look_at_broker(Settings(broker_url=f"redis://{place}"), []).open
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", "secret")
        found = celery_probe.look_at_broker(Settings(broker_url=f"redis://:secret@{place}"), [])
        assert (found.error, found.open) == (None, False)
    finally:
        server.stop()
