"""The product's own code on a virtual clock: it keeps its rules, and a broken one is found. `make simulate` goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executors import keeper, upkeep
from executors.control import Control
from tasks.store import rings
from tests.chaos.simulate import Theatre
from tests.chaos.simulation import CELERY, MIXED

#: Worlds that a broken variant is looked for in. Nearly all are found in the first.
ENOUGH = 3


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    return Theatre(tmp_path_factory.mktemp("worlds"))


@pytest.mark.parametrize(("seed", "kinds"), [(1, MIXED), (2, CELERY)])
def test_a_world_keeps_the_rules(theatre: Theatre, seed: int, kinds: tuple[str, ...]) -> None:
    found, story = theatre.play(seed, kinds)
    assert found == [], "\n".join([f"make simulate SEED={seed} tells it again", *story, *found])


def test_the_same_seed_is_the_same_story(theatre: Theatre) -> None:
    assert theatre.play(1) == theatre.play(1)


def _without(module: Any, name: str, text: str, instead: str = "") -> tuple[Any, str, str]:
    sound = getattr(module, name)
    assert text in sound, "the mutant does not change anything any more"
    return module, name, sound.replace(text, instead)


async def _never(*_: Any) -> float:
    return 0.5


async def _without_its_key(self: Control, wish: Any, key: str, fingerprint: str) -> Any:
    return await self.submit(wish), True


#: The fence's own are in tests/store/test_machine.py: an attempt that fences itself seldom runs into it here.
MUTANTS: dict[str, tuple[Callable[[], tuple[Any, str, Any]], str]] = {
    "nobody reaps": (lambda: (upkeep.Upkeep, "reap", _never), "is stuck in STARTED"),
    "nobody stages": (lambda: (upkeep.Upkeep, "stage", _never), "is stuck in"),
    "a lost ring is not repeated": (lambda: _without(rings, "RERING", "WHERE ", "WHERE 1 = 0 AND "), "is stuck in"),
    "leases are not renewed": (lambda: (keeper.Keeper, "_renew", _never), "for nothing"),
    "the living are taken for dead": (lambda: (upkeep, "is_dead", lambda owner: True), "for nothing"),
    "a submission sent again is another job": (lambda: (Control, "submit_once", _without_its_key), "second job"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_variant_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make, words = MUTANTS[name]
    monkeypatch.setattr(*make())
    assert any(words in line for line in _worlds(theatre)), f"not found in {ENOUGH} worlds"


def _worlds(theatre: Theatre) -> Iterator[str]:
    for seed in range(10, 10 + ENOUGH):
        yield from theatre.play(seed, CELERY)[0]
