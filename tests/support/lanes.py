"""Which tests share a lane of the suite: those of one deployment or one file, so that its servers start once.

pytest-xdist's own `--dist loadgroup` would do it by marks, but 3.8 writes the group into a private field that pytest
9.2 no longer reads: every test was a group of its own.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from tests.support.combinations import COMBINATIONS, SITES

_DEPLOYMENTS = [str(deployed) for deployed in (*COMBINATIONS, *SITES)]


class Lanes(LoadScopeScheduling):
    """Hands out whole deployments and whole files."""

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name in _DEPLOYMENTS if name in nodeid), nodeid.partition("::")[0])
