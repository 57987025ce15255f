"""`make fuzz`: both fuzzers at length against a server of their own; prints counts, and fails on anything wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import serving
from tests.fuzz.document import fuzz_document
from tests.fuzz.octets import fuzz_octets


def main() -> int:
    """Run; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="calls of each operation")
    parser.add_argument("--calls", type=int, default=50_000, help="damaged calls")
    parser.add_argument("--seed", type=int, default=1, help="of the damage")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        began = time.monotonic()
        counts, wrong = fuzz_octets(server, calls=given.calls, seed=given.seed)
        print(f"damaged calls, {time.monotonic() - began:.0f} s: {dict(sorted(counts.items()))}")
        began = time.monotonic()
        statuses, false = fuzz_document(server, examples=given.examples)
        print(
            f"calls from the document, {time.monotonic() - began:.0f} s: {dict(sorted(statuses.items()))}"
        )
        resident = next(
            line
            for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        print(f"highest memory of the server: {resident.split(':')[1].strip()}")
        log = (server.home / "logs" / "server.log").read_text("utf-8")
    wrong += false
    wrong += [line for line in log.splitlines() if "Traceback" in line or "handler failed" in line]
    print(f"wrong: {len(wrong)}")
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
