"""Schedules that code declares, beside what an operator has made of them."""

from __future__ import annotations

from typing import Any

import pytest

from executors.schedules import Schedules
from executors.settings import Settings
from tasks import schedule, task
from tasks.admission import Admission, Defaults
from tasks.declaration import declared
from tasks.errors import ConfigurationError, InvalidSchedule, NotConfigured
from tasks.registry import Registry
from tasks.schedule import Spec, read_spec
from tasks.store.store import JobStore
from tests.schedules.support import Town


def release(**fields: Any) -> Registry:
    """The code of a release: one task, one schedule."""

    @schedule(**{"cron": "0 2 * * *", "kwargs": {"days": 30}, **fields})
    @task(name="shop.cleanup")
    def cleanup(days: int) -> int:
        return days

    return Registry([cleanup])


async def start(store: JobStore, found: Registry) -> Schedules:
    schedules = Schedules(store, Admission(found, Defaults(timezone="Asia/Shanghai")))
    await schedules.declare(declared(found))
    return schedules


async def test_a_declared_schedule_is_there_after_a_start(town: Town) -> None:
    schedules = await start(town.store, release())
    row = await schedules.read("shop.cleanup")
    spec = read_spec(row.spec)
    assert (spec.cron, spec.timezone, spec.kwargs) == ("0 2 * * *", "Asia/Shanghai", {"days": 30})
    assert (row.origin, row.enabled) == ("code", True)
    await start(town.store, release())
    assert await schedules.read("shop.cleanup") == row, "a second start changes nothing"


async def test_a_new_release_changes_what_no_operator_has_changed(town: Town) -> None:
    await start(town.store, release())
    schedules = await start(town.store, release(cron="30 4 * * *"))
    assert read_spec((await schedules.read("shop.cleanup")).spec).cron == "30 4 * * *"


async def test_an_operators_change_stays(town: Town) -> None:
    schedules = await start(town.store, release())
    await schedules.change("shop.cleanup", lambda spec: _with(spec, cron="0 5 * * *"))
    await schedules.pause("shop.cleanup")
    for cron in ("0 2 * * *", "30 4 * * *"):
        await start(town.store, release(cron=cron))
        row = await schedules.read("shop.cleanup")
        assert (read_spec(row.spec).cron, row.paused) == ("0 5 * * *", "operator")
    with pytest.raises(InvalidSchedule, match="declared in code"):
        await schedules.change("shop.cleanup", lambda spec: _with(spec, name="other"))


async def test_what_a_newer_release_wrote_is_left_alone(town: Town) -> None:
    await start(town.store, release())
    await town.bench.sql("UPDATE schedules SET spec = :text, declared = :text", text='{"new": 1}')
    await start(town.store, release())
    assert (await town.read("shop.cleanup")).spec == '{"new": 1}'


async def test_a_pause_outlives_a_new_release(town: Town) -> None:
    schedules = await start(town.store, release())
    await schedules.pause("shop.cleanup")
    await start(town.store, release(cron="30 4 * * *"))
    row = await schedules.read("shop.cleanup")
    assert (read_spec(row.spec).cron, row.enabled) == ("30 4 * * *", False)


async def test_what_an_operator_deleted_stays_deleted(town: Town) -> None:
    schedules = await start(town.store, release())
    await schedules.delete("shop.cleanup")
    await start(town.store, release(cron="30 4 * * *"))
    assert await schedules.list(10) == []
    made = await schedules.create(Spec(name="shop.cleanup", task="shop.cleanup", every=60, kwargs={"days": 1}))
    assert made.origin == "operator"
    await start(town.store, release())
    assert (await schedules.read("shop.cleanup")).spec == made.spec, "and a name that an operator took is his"


async def test_a_declaration_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.cleanup: hour: '25'"):
        release(cron="0 25 * * *")
    with pytest.raises(ConfigurationError, match="unknown field `crn`"):
        release(crn="0 2 * * *")


async def test_arguments_that_do_not_fit_are_told_at_start(town: Town) -> None:
    with pytest.raises(ConfigurationError, match=r"declared in code: .*'dys'"):
        await start(town.store, release(kwargs={"dys": 1}))


async def test_a_deployment_may_lack_what_a_declared_schedule_s_task_needs(town: Town) -> None:
    @schedule(cron="0 2 * * *")
    @task(name="shop.bills", needs=lambda: "set SHOP_MAIL_KEY")
    def bills() -> None: ...

    schedules = await start(town.store, Registry([bills]))
    assert (await schedules.read("shop.bills")).enabled
    with pytest.raises(NotConfigured, match="SHOP_MAIL_KEY"):
        await schedules.run("shop.bills")


async def test_two_of_one_name_are_refused() -> None:
    @schedule(every=60)
    @schedule(every=120)
    @task(name="shop.twice")
    def twice() -> None: ...

    with pytest.raises(ConfigurationError, match=r"two schedules are named 'shop\.twice'"):
        declared([twice])


def test_the_time_zone_is_a_setting() -> None:
    assert Settings.from_env({"CELERY_TIMEZONE": "Asia/Shanghai"}).defaults.timezone == "Asia/Shanghai"
    with pytest.raises(ConfigurationError, match=r"CELERY_TIMEZONE: 'Shanghai' .* did you mean Asia/Shanghai"):
        Settings.from_env({"CELERY_TIMEZONE": "Shanghai"})


def _with(spec: Spec, **fields: Any) -> Spec:
    return Spec(**{**{name: getattr(spec, name) for name in Spec.__struct_fields__}, **fields})
