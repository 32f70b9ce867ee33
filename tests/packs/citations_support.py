"""Settings that lead the platforms of the citations pack to the answer engines."""

from __future__ import annotations

from typing import Any

import httpx2

from executors import environment
from tasks.packs.citations.settings import Settings
from tests.support.answers import AnswerEngines, search

QUESTION = "What is the best CRM for small businesses?"
#: The addresses that every engine cites for it, best first.
PLACES = [page.url for page in search(QUESTION)]
VENDORS = ("perplexity", "you", "openai", "anthropic", "gemini")
HOME = "/api/citations/projects"


def variables(answers: AnswerEngines, *platforms: str) -> dict[str, str]:
    """The environment in which these platforms, by default all, are the answer engines; nothing waits for long."""
    found = {"CITATIONS_PAUSE": "0.01", "CITATIONS_TIMEOUT": "20"}
    for name in platforms or (*VENDORS, "compatible"):
        vendor = "openai" if name == "compatible" else name
        found |= {
            f"{name.upper()}_API_KEY": answers.key,
            f"{name.upper()}_BASE_URL": answers.url(vendor) + ("/v1" if vendor == "openai" else ""),
            f"{name.upper()}_RATE_LIMIT": "1000/s",
        }
    if "COMPATIBLE_BASE_URL" in found:
        found["COMPATIBLE_MODEL"] = "any-search-model"
    return found


def settings_of(environ: dict[str, str]) -> Settings:
    return environment.read(Settings, {name: name.upper() for name in Settings.__struct_fields__}, environ)


class Projects:
    """The pack's addresses as its users have them."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.client.request(method, f"{HOME}{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def make(self, *domains: str, **fields: Any) -> str:
        """A project with those domains; its id."""
        wish = {"name": "Northwind", "domains": list(domains) or ["northwind.example"], **fields}
        project: dict[str, Any] = await self.call("POST", "", wish, 201)
        return str(project["id"])

    async def prompt(self, project: str, text: str, priority: str = "P1") -> int:
        made = await self.call("POST", f"/{project}/prompts", {"text": text, "priority": priority}, 201)
        return int(made["id"])

    async def submit(self, task: str, **kwargs: Any) -> dict[str, Any]:
        """The job at its end."""
        answer = await self.client.post("/api/v1/jobs", json={"task": task, "kwargs": kwargs})
        assert answer.status_code == 202, answer.text
        return await self.ended(answer.json()["id"])

    async def ended(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"/api/v1/jobs/{job}?wait=30")).json()
        assert found["finished_at"], found
        return found

    async def scan(self, project: str, *platforms: str, text: str = QUESTION) -> dict[str, Any]:
        kwargs = {"platforms": list(platforms)} if platforms else {}
        return await self.submit("scan_prompt_citations", prompt_text=text, project_id=project, **kwargs)
