"""Tasks on real files under one root: `tasks.file.analyze_file` and `tasks.file.export_file`.

The parsers are not imported here: a gateway that only accepts jobs does without them, and without their memory.
"""

from tasks.packs.files.analysis import analyze_file
from tasks.packs.files.export import export_file
from tasks.packs.files.folder import configure
from tasks.packs.files.sample import fill

__all__ = ["analyze_file", "configure", "export_file", "fill"]
