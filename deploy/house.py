"""Measures the house: the size of its functions and files. Exits 1 when one is over its limit."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

FLOORS = ("gateway", "executors", "metrics", "tasks")
# Lines. A file over the first is worth a thought; over the second it does not pass.
FILE_WISH = 300
FILE_LIMIT = 400
FUNCTION_LIMIT = 40
MEDIAN_LIMIT = 8


class Function(NamedTuple):
    place: str
    lines: int


class House(NamedTuple):
    files: dict[str, int]
    functions: list[Function]

    @property
    def median(self) -> float:
        return median(f.lines for f in self.functions) if self.functions else 0

    @property
    def p90(self) -> float:
        return quantiles((f.lines for f in self.functions), n=10)[-1] if len(self.functions) > 1 else self.median

    @property
    def long_functions(self) -> list[Function]:
        return sorted((f for f in self.functions if f.lines > FUNCTION_LIMIT), key=lambda f: -f.lines)

    def files_over(self, limit: int) -> dict[str, int]:
        return {name: lines for name, lines in self.files.items() if lines > limit}

    @property
    def stands(self) -> bool:
        return self.median < MEDIAN_LIMIT and not self.long_functions and not self.files_over(FILE_LIMIT)


def functions_in(tree: ast.Module, path: str) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Decorators are not the body's length; a nested function counts in its owner too.
            yield Function(f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)


def measure(root: Path) -> House:
    house = House({}, [])
    for floor in FLOORS:
        for file in sorted((root / floor).rglob("*.py")):
            text, path = file.read_text(encoding="utf-8"), file.relative_to(root).as_posix()
            house.files[path] = len(text.splitlines())
            house.functions.extend(functions_in(ast.parse(text, path), path))
    return house


def report(house: House) -> Iterator[str]:
    yield f"{len(house.files)} files, {sum(house.files.values())} lines, {len(house.functions)} functions"
    yield f"function length: median {house.median:g} (limit < {MEDIAN_LIMIT}), p90 {house.p90:g}"
    yield f"functions over {FUNCTION_LIMIT} lines: {len(house.long_functions)}"
    yield from (f"  {f.lines:4}  {f.place}" for f in house.long_functions)
    for limit in (FILE_WISH, FILE_LIMIT):
        over = house.files_over(limit)
        yield f"files over {limit} lines: {len(over)}"
        yield from (f"  {lines:4}  {name}" for name, lines in over.items())


def main() -> int:
    house = measure(Path(__file__).resolve().parent.parent)
    print("\n".join(report(house)))
    return 0 if house.stands else 1


if __name__ == "__main__":
    sys.exit(main())
