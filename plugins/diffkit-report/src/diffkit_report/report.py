"""``diffkit report RUN [FILE]``: a run as one page that opens anywhere."""

import os
from collections.abc import Sequence
from pathlib import Path

from diffkit import DiffkitError, RunFolder
from diffkit_report.facts import Facts
from diffkit_report.page import page


def report(words: Sequence[str]) -> int:
    """Write the page, whole or not at all, and say where it is."""
    if not 1 <= len(words) <= 2 or any(word.startswith("-") for word in words):
        raise DiffkitError(
            f"diffkit report needs a run and takes a file, not '{' '.join(words)}'; for example: diffkit report last"
        )
    folder = RunFolder.find(words[0])
    path = Path(words[1]) if len(words) == 2 else folder.path / "report.html"
    run = Facts(folder, folder.path.name)
    html = page(run)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise DiffkitError(
            f"{path} cannot be written ({error.strerror}); name another file: diffkit report {words[0]} FILE"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    if run.history.skipped:
        print(f"note     {run.history.skipped} lines of metrics.jsonl are unreadable")
    print(f"report   {path}")
    return 0
