"""Measure, and print the tables as Markdown: `python benchmarks/run.py [--quick] [--write] [overhead] [programs] [engines] [gateway] [bridge] [overload] [embeddings] [images] [tokens] [start] [services] [registry] [retrieval] [knowledge] [datasets] [batches] [compression]`.

Nothing fails on a time; an exit status other than 0 means that something did not work.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import batches
import bridge
import cleaning
import cleaning_peers
import compression
import dataset_versions
import embeddings
import gateway
import growth
import images
import imports
import knowledge
import overhead
import overload
import programs
import registry
import report
import retrieval
import services
import start
import tokens
import tuning
from load import LoadError

import engines

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTIONS: dict[str, Callable[[str], report.Report]] = {
    "overhead": lambda size: overhead.measure(overhead.SIZES[size]),
    "programs": lambda size: programs.measure(programs.SIZES[size]),
    "engines": lambda size: engines.measure(engines.SIZES[size]),
    "gateway": lambda size: gateway.measure(gateway.SIZES[size]),
    "bridge": lambda size: bridge.measure(bridge.SIZES[size]),
    "overload": lambda size: overload.measure(overload.SIZES[size]),
    "cleaning": lambda size: cleaning.measure(cleaning.SIZES[size]),
    "cleaning_peers": lambda size: cleaning_peers.measure(cleaning_peers.SIZES[size]),
    "cleaning_datatrove": lambda size: cleaning_peers.measure_datatrove(cleaning_peers.SIZES[size]),
    "embeddings": lambda size: embeddings.measure(embeddings.SIZES[size]),
    "images": lambda size: images.measure(images.SIZES[size]),
    "imports": lambda size: imports.measure(imports.SIZES[size]),
    "growth": lambda size: growth.measure(growth.SIZES[size]),
    "tokens": lambda size: tokens.measure(tokens.SIZES[size]),
    "start": lambda size: start.measure(start.SIZES[size]),
    "services": lambda size: services.measure(services.SIZES[size]),
    "registry": lambda size: registry.measure(registry.SIZES[size]),
    "knowledge": lambda size: knowledge.measure(knowledge.SIZES[size]),
    "retrieval": lambda size: retrieval.measure(retrieval.SIZES[size]),
    "tuning": lambda size: tuning.measure(tuning.SIZES[size]),
    "datasets": lambda size: dataset_versions.measure(dataset_versions.SIZES[size]),
    "batches": lambda size: batches.measure(batches.SIZES[size]),
    "compression": lambda size: compression.measure(compression.SIZES[size]),
}


def main() -> None:
    """Run the questions that were asked for."""
    parser = argparse.ArgumentParser(description="Measure Yangfan and print tables.")
    parser.add_argument("questions", nargs="*", help=f"of {', '.join(QUESTIONS)}; all if none")
    parser.add_argument(
        "--quick",
        action="store_const",
        dest="size",
        const="quick",
        default="full",
        help="one short round of everything: to look, not to publish",
    )
    parser.add_argument(
        "--smoke",
        action="store_const",
        dest="size",
        const="smoke",
        help="only prove that the programs work",
    )
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/measurements.md, too"
    )
    options = parser.parse_args()
    unknown = set(options.questions) - set(QUESTIONS)
    if unknown:
        parser.error(
            f"no question named {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}"
        )
    if sys.platform != "linux":
        raise SystemExit("the benchmarks read /proc and pin processes to cores, so they need Linux")
    for name in options.questions or QUESTIONS:
        machine = report.machine()
        try:
            text = QUESTIONS[name](options.size).markdown(machine)
        except LoadError as error:
            raise SystemExit(f"{name}: a server did not answer as it should: {error}") from None
        print(f"## {name}\n\n{text}\n", flush=True)
        if options.write:
            report.write(name, text)


if __name__ == "__main__":
    main()
