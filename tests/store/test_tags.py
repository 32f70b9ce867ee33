"""A tag in a filter means exactly that tag: bulk actions delete and cancel by it."""

from __future__ import annotations

import json

import pytest

from tasks.job import Filter
from tests.store.support import Bench, new_job

TAGS = [
    "prod",
    "Prod",
    "PROD",
    "eu",
    'x"eu',
    'eu"x',
    '","',
    "a,b",
    "a",
    "%",
    "_",
    "prod ",
    "ß",
    "ss",
    "é",
    "e\u0301",
    "\\",
    "1",
]


@pytest.mark.parametrize("tag", TAGS)
async def test_a_filter_finds_the_jobs_of_exactly_its_tag(bench: Bench, tag: str) -> None:
    wanted = new_job(tags=json.dumps(["other", tag]))
    for other in TAGS:
        if other != tag:
            await bench.store.accept(new_job(tags=json.dumps([other, "more"], ensure_ascii=False)))
    await bench.store.accept(new_job(tags=None))
    await bench.store.accept(wanted)
    found = await bench.store.list(Filter(tag=tag), 50)
    assert [job.id for job in found] == [wanted.id]
