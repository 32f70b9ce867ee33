"""Settings that only a worker process shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import clean_environment

SHOW = """
import logging, executors.celery_worker as worker
print(logging.getLogger("jobgate").level, worker.app.conf.worker_max_tasks_per_child)
"""


def test_a_worker_takes_its_level_of_words_and_the_life_of_its_children(tmp_path: Path) -> None:
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db", LOG_LEVEL="DEBUG", CELERY_WORKER_MAX_TASKS_PER_CHILD="100"
    )
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["10", "100"]
