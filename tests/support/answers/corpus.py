"""A small web: pages on made-up domains, and an answer drawn from those that share most words with a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit


class Page(NamedTuple):
    url: str
    title: str
    text: str

    @property
    def domain(self) -> str:
        return urlsplit(self.url).hostname or ""


class Passage(NamedTuple):
    """A sentence of an answer, where it stands there, and the page that it is from."""

    start: int
    end: int
    page: Page


class Answer(NamedTuple):
    text: str
    passages: Sequence[Passage]

    @property
    def pages(self) -> list[Page]:
        return [passage.page for passage in self.passages]


#: Domains are under .example, which nobody can own. Some are there to be mistaken for others: a subdomain, a host
#: in capitals with tracking in the query, and one whose name merely ends like Northwind's.
PAGES = (
    Page("https://www.northwind.example/crm", "Northwind CRM",
         "Northwind is a CRM for small businesses with a free plan for five users."),
    Page("https://blog.northwind.example/2026/crm-checklist?utm_source=feed", "Choosing a CRM",
         "A checklist for choosing the best CRM for small businesses helps teams compare price and support."),
    Page("https://notnorthwind.example/review", "An honest review",
         "This review of CRM software for small businesses finds that support matters more than price."),
    Page("https://Reviews.Ledgerline.example:8443/crm-software/", "CRM software compared",
         "The best CRM software compared: Northwind leads on price, Fabrikam on reporting."),
    Page("https://fabrikam.example/reporting", "Fabrikam reporting",
         "Fabrikam offers CRM reporting dashboards for sales teams of any size."),
    Page("https://trailpost.example/shoes/running", "Running shoes tested",
         "Our running shoes test names the Contoso Glide the best shoe for beginners."),
    Page("https://contoso.example/glide", "Contoso Glide",
         "The Contoso Glide is a running shoe for beginners with a soft sole."),
    Page("https://forum.strider.example/t/4711", "Which running shoes for beginners?",
         "Runners say that beginners should try running shoes in the afternoon."),
    Page("https://beanhouse.example/espresso", "Espresso at home",
         "An espresso machine for home use needs nine bars of pressure and a good grinder."),
    Page("https://contoso.example/barista", "Contoso Barista",
         "The Contoso Barista espresso machine heats up in thirty seconds."),
    Page("https://tokyo-walks.example/spring", "Tokyo in spring",
         "Cherry trees in Tokyo bloom at the end of March, and hotels fill up early."),
    Page("https://wiki.gridlore.example/Heat_pump", "Heat pump",
         "A heat pump moves heat from the air outside into a house and uses little electricity."),
    Page("https://lvse.example/rebeng", "热泵",
         "热泵把室外空气中的热量送入房屋，耗电很少。"),
    Page("https://beifeng.example/crm", "北风客户管理",
         "北风是适合小企业的客户管理软件，五个用户以内免费。"),
)  # fmt: skip

_COMMON = "a an and are at by does for from have how in into is it of on or that the to what which who with"


def words(text: str) -> set[str]:
    """Its words in small letters, without the commonest; of Chinese, its characters."""
    return set(re.findall(r"[一-鿿]|[^\W_一-鿿]+", text.lower())) - set(_COMMON.split())


def search(question: str, limit: int = 4) -> list[Page]:
    """The pages that share the most words with the question, best first; two at least."""
    asked = words(question)
    scores = {page: len(asked & words(f"{page.title} {page.text}")) for page in PAGES}
    found = sorted((page for page in PAGES if scores[page] >= 2), key=lambda page: -scores[page])
    return found[:limit]


def compose(pages: Sequence[Page]) -> Answer:
    """A sentence from each page, one after the other."""
    passages, text = [], ""
    for page in pages:
        text += " " if text else ""
        passages.append(Passage(len(text), len(text) + len(page.text), page))
        text += page.text
    return Answer(text or "I found nothing about that.", passages)
