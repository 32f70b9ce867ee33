"""Citation scanning: what AI search platforms cite for a project's prompts, and how often the project is among it."""

from tasks.packs.citations.findings import list_citations, list_scans, start_scan
from tasks.packs.citations.pack import CITATIONS
from tasks.packs.citations.projects import (
    change_project,
    create_project,
    delete_project,
    list_projects,
    read_project,
)
from tasks.packs.citations.prompts import change_prompt, create_prompt, delete_prompt, list_prompts
from tasks.packs.citations.rates import update_citation_rates
from tasks.packs.citations.rounds import scheduled_citation_scan, weekly_comprehensive_scan
from tasks.packs.citations.scan import scan_prompt_citations

__all__ = [
    "CITATIONS",
    "change_project",
    "change_prompt",
    "create_project",
    "create_prompt",
    "delete_project",
    "delete_prompt",
    "list_citations",
    "list_projects",
    "list_prompts",
    "list_scans",
    "read_project",
    "scan_prompt_citations",
    "scheduled_citation_scan",
    "start_scan",
    "update_citation_rates",
    "weekly_comprehensive_scan",
]
