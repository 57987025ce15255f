"""`python -m yangfan` is the command `yangfan`."""

from __future__ import annotations

from yangfan.cli import main

if __name__ == "__main__":
    main()
