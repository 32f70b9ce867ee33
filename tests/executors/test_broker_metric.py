"""With USE_CELERY=1, where no threads stand in, a broker that is away is told by a metric too."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.deployment import Deployment, Shape
from tests.support.servers import Redis
from tests.support.waiting import eventually


def test_a_broker_that_is_away_is_told(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    shape = Shape(database_url=f"sqlite:///{tmp_path / 'jobs.db'}", pool="prefork", broker_url=f"{redis.url}/0")
    deployment = Deployment(shape, tmp_path)

    def up() -> str | None:
        found = re.search(r"^jobgate_broker_up (\S+)$", deployment.client.get("/metrics").text, re.MULTILINE)
        return found and found[1]

    try:
        deployment.start_gateway()
        eventually(lambda: up() == "1.0")
        redis.stop()
        eventually(lambda: up() == "0.0")
        redis.start()
        eventually(lambda: up() == "1.0")
    finally:
        deployment.stop()
        redis.stop()
