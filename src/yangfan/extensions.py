"""Find an extension by name: the name is the file's (or folder's) name inside its package.

Built-ins and third parties use one door: a module in the package, or an entry point in the group of the same name
(`yangfan.engines` and so on).
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yangfan.errors import UnknownExtension

if TYPE_CHECKING:
    from types import ModuleType

SHARED = frozenset({"base", "choice", "figures", "pipeline", "process", "rendering", "wire"})
"""File names that hold what the extensions of a package share, never an extension."""


def points(package: str) -> importlib.metadata.EntryPoints:
    """Entry points of the group `package`.

    Every installed package has a file to be read for it, which takes longer than all else that making an operator does; so they
    are read again only when one of the folders that packages lie in has changed.
    """
    return _points(package, tuple((path, _modified_ns(path)) for path in sys.path))


@functools.lru_cache(maxsize=16)
def _points(package: str, folders: tuple[tuple[str, int], ...]) -> importlib.metadata.EntryPoints:
    del folders
    return importlib.metadata.entry_points(group=package)


def _modified_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def names(package: str) -> list[str]:
    """Names of all extensions of `package` (such as ``"yangfan.engines"``), sorted."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise UnknownExtension(f"{package} is not a package that holds extensions")
    found = {
        module.name
        for module in pkgutil.iter_modules(spec.submodule_search_locations)
        if module.name not in SHARED and not module.name.startswith("_")
    }
    found.update(point.name for point in points(package))
    return sorted(found)


def folders(package: str) -> dict[str, tuple[str, Path, str]]:
    """Where the extensions of `package` that are folders lie, without importing any of them.

    Returns:
        By name: the package to import, its folder, and the distribution that brought it ("yangfan" for built-ins).
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise UnknownExtension(f"{package} is not a package that holds extensions")
    found = {
        module.name: (
            f"{package}.{module.name}",
            Path(spec.submodule_search_locations[0]) / module.name,
            "yangfan",
        )
        for module in pkgutil.iter_modules(spec.submodule_search_locations)
        if module.ispkg and not module.name.startswith("_")
    }
    for point in points(package):
        top, *rest = point.value.split(".")
        outer = importlib.util.find_spec(top)
        places = [] if outer is None else list(outer.submodule_search_locations or ())
        if not places:
            raise UnknownExtension(
                f"the entry point {point.name} of {package} names {point.value}, which is no package here"
            )
        origin = "" if point.dist is None else point.dist.name
        found[point.name] = (point.value, Path(places[0]).joinpath(*rest), origin)
    return found


def load(package: str, name: str) -> ModuleType:
    """Import and return the extension `name` of `package`.

    Raises:
        UnknownExtension: No such name; the message lists the names that exist.
    """
    for point in points(package).select(name=name):
        return point.load()
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2]
        raise UnknownExtension(f"no {kind} named {name!r}; there are: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
