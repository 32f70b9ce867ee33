"""Tasks on real files under one root: `tasks.file.analyze_file`, `export_file`, `process_file` and `bulk_upload`.

The parsers are not imported here: a gateway that only accepts jobs does without them, and without their memory.
"""

from tasks.packs.files.analysis import analyze_file
from tasks.packs.files.export import export_file
from tasks.packs.files.folder import configure
from tasks.packs.files.process import process_file
from tasks.packs.files.sample import fill
from tasks.packs.files.settings import FILES
from tasks.packs.files.upload import bulk_upload

__all__ = ["FILES", "analyze_file", "bulk_upload", "configure", "export_file", "fill", "process_file"]
