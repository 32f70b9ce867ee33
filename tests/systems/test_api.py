"""System D's calls to external APIs, and what it does not call."""

from __future__ import annotations

import uuid

from tests.support.deployment import Deployment
from tests.support.outside import Outside
from tests.systems.owner import run, smoke


def test_an_api_that_fails_at_first_is_called_again(site: Deployment, web_world: Outside) -> None:
    web_world.reset()
    done = run(site, "tasks.api.call_external_api", "POST", f"{web_world.url}/flaky/2/{uuid.uuid4()}", json={"a": 1})
    assert (done["status"], done["queue"], done["attempt"]) == ("SUCCESS", "api_calls", 3), done
    assert done["result"]["json"] == {"calls": 3}
    assert {heard.headers["idempotency-key"] for heard in web_world.calls} == {done["id"]}
    assert run(site, "tasks.api.fetch_json", f"{web_world.url}/echo")["result"]["method"] == "GET"
    assert run(site, "tasks.api.post_json", f"{web_world.url}/echo", [1])["result"]["body"] == "[1]"


def test_what_is_inside_is_not_called(site: Deployment) -> None:
    refused = run(site, "tasks.api.call_external_api", "GET", f"{str(site.client.base_url).rstrip('/')}/readyz")
    assert (refused["status"], refused["attempt"]) == ("FAILURE", 1), refused
    assert "not a public address" in refused["error"]["message"]


def test_the_smoke_command(site: Deployment) -> None:
    assert "refused: " in smoke(site, "api")
