"""`python -m yangfan.trainers SPEC.json`: one run, told on standard output (`yangfan.trainers.base`)."""

import sys

from yangfan.trainers.pipeline.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
