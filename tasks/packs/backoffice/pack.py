"""The pack itself, apart from what it holds, which needs it."""

from __future__ import annotations

from tasks.pack import Pack
from tasks.packs.backoffice.settings import Settings
from tasks.packs.backoffice.smoke import smoke
from tasks.packs.backoffice.tables import DATABASE

BACKOFFICE = Pack("backoffice", Settings, database=DATABASE, smoke=smoke)
