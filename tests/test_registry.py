"""Tasks by name, and by the paths that they had in other projects."""

from __future__ import annotations

import pytest

from tasks import task
from tasks.errors import UnknownTask
from tasks.registry import Registry


def _named(*names: str) -> Registry:
    return Registry([task(name=name, queue="default")(_body) for name in names])


def _body() -> None:
    pass


OURS = _named(
    "auth.cleanup_expired_sessions",
    "scheduled_task.test_task",
    "execute_agent_periodic_task",
    "tasks.email.send_email",
    "shop.add",
    "office.add",
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("auth.cleanup_expired_sessions", "auth.cleanup_expired_sessions"),
        ("src.apps.auth.tasks.cleanup_expired_sessions_task", "auth.cleanup_expired_sessions"),
        ("src.apps.auth.tasks.cleanup_expired_sessions", "auth.cleanup_expired_sessions"),
        ("src.apps.scheduled_task.tasks.test_task", "scheduled_task.test_task"),
        ("src.apps.agents.tasks.execute_agent_periodic_task", "execute_agent_periodic_task"),
        ("app.tasks.email.send_email_task", "tasks.email.send_email"),
        ("src.shop.tasks.add_task", "shop.add"),
        # Not the module that the name says, another order, no module at all: these are other tasks.
        ("src.apps.billing.tasks.add", "src.apps.billing.tasks.add"),
        ("src.email.tasks.send_email", "src.email.tasks.send_email"),
        ("add", "add"),
    ],
)
def test_a_path_of_another_project_is_the_task_whose_name_fits(path: str, name: str) -> None:
    assert OURS.by_path(path) == name


def test_a_path_that_fits_several_tasks_is_refused_with_their_names() -> None:
    with pytest.raises(UnknownTask, match=r"each of office\.add, shop\.add"):
        OURS.by_path("src.shop.office.add_task")


@pytest.mark.parametrize(
    "path", ["src.apps.auth.tasks.cleanup_expired_session_task", "src.apps.billing.cleanup_expired_sessions_task"]
)
def test_a_path_that_fits_no_task_is_answered_with_the_nearest(path: str) -> None:
    assert OURS.by_path(path) == path
    with pytest.raises(UnknownTask, match=r"did you mean auth\.cleanup_expired_sessions"):
        OURS.get(path)
