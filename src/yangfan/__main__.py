"""`python -m yangfan`: the command line."""

from yangfan.cli import main

main()
