"""Write src/yangfan/client/_sync from src/yangfan/client/_async.

    python scripts/unasync.py           write the files
    python scripts/unasync.py --check   change nothing; exit 1 if a file is not what would be written

The async client is written by hand in words that have a plain counterpart; this file lists the pairs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "src" / "yangfan" / "client"
HEADER = "# Generated from _async by scripts/unasync.py; edit there.\n"

PAIRS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\bimport Awaitable, ", "import "),
        (r"\bAwaitable\[(\w+)\]", r"\1"),
        (r"^import asyncio$", "import threading"),
        (r"\basyncio\.Lock\b", "threading.Lock"),
        (r"\bAsync(?=[A-Z])", ""),
        (r"\basync (?=def|with|for)", ""),
        (r"\bawait ", ""),
        (r"__a(enter|exit|iter)__", r"__\1__"),
        (r"\b_async\b", "_sync"),
        (r"Written by hand; `_sync` is generated from it by", "Generated from `_async` by"),
    )
)


def main() -> int:
    """Write or check every file; the number of files that differ is told, not the difference."""
    is_check = "--check" in sys.argv[1:]
    wanted = {
        CLIENT / "_sync" / source.name: plain(source)
        for source in sorted((CLIENT / "_async").glob("*.py"))
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    left_over = [path for path in (CLIENT / "_sync").glob("*.py") if path not in wanted]
    if is_check:
        for path in (*stale, *left_over):
            print(f"{path.relative_to(CLIENT)} is not current: run python scripts/unasync.py")
        return 1 if stale or left_over else 0
    (CLIENT / "_sync").mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    for path in left_over:
        path.unlink()
    return 0


def plain(source: Path) -> str:
    """The text of `source` without its async words."""
    lines = [HEADER]
    for line in source.read_text(encoding="utf-8").splitlines(keepends=True):
        for pattern, word in PAIRS:
            line = pattern.sub(word, line)
        lines.append(line)
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
