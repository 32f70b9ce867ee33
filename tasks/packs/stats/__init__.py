"""System statistics, kept: `tasks.stats.collect_system_stats`, `generate_report`, `cleanup_old_stats`."""

from tasks.packs.stats.addresses import read_latest, read_report, read_samples
from tasks.packs.stats.settings import STATS
from tasks.packs.stats.work import cleanup_old_stats, collect_system_stats, generate_report

__all__ = [
    "STATS",
    "cleanup_old_stats",
    "collect_system_stats",
    "generate_report",
    "read_latest",
    "read_report",
    "read_samples",
]
