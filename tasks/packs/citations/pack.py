"""The pack as a value: its settings, its tables, its smoke test."""

from tasks.pack import Pack
from tasks.packs.citations.settings import Settings, check
from tasks.packs.citations.smoke import smoke
from tasks.packs.citations.tables import DATABASE

CITATIONS = Pack("citations", Settings, database=DATABASE, told=check, smoke=smoke)
