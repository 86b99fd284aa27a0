"""What a report of a fault begins with: versions, platform, extras, cache folder; no secrets."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from imi_bench import __version__
from imi_bench.places import cache_folder
from imi_bench.provenance import git_state

__all__ = ["Installation", "Package"]

_SHOWN = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "MPLBACKEND")
_ONLY_WHETHER_SET = ("IMI_BENCH_CACHE", "IMI_BENCH_RECORD_URL")
_REQUIREMENT = re.compile(r"([\w.-]+)(.*?)(?:;\s*extra\s*==\s*['\"]([\w-]+)['\"])?\s*$")


@dataclass(frozen=True)
class Package:
    """A package that imi_bench asks for.

    Attributes
    ----------
    name : str
    wanted : str
        Versions that are allowed, such as ``>=2.2``; empty for any.
    extra : str
        The extra that asks for it; empty for the core.
    version : str or None
        What is installed; None for nothing.
    """

    name: str
    wanted: str
    extra: str
    version: str | None


@dataclass(frozen=True)
class Installation:
    """What is installed here, without anything that names a person or opens a door.

    Attributes
    ----------
    version : str
    commit : str or None
        Of the checkout it runs from, with ``+`` where files were changed; None for an installed
        wheel.
    platform, python : str
    cores : int
    packages : tuple of Package
    environment : mapping of str to str
        Variables that change what is computed; of those that may hold a path or an address only
        that they are set.
    cache : str
        The cache folder, the home folder written ``~``.
    cache_exists : bool

    Examples
    --------
    >>> here = Installation.of_this_process()
    >>> here.extras()["cluster"] in ("present", "absent", "in part")
    True
    """

    version: str
    commit: str | None
    platform: str
    python: str
    cores: int
    packages: tuple[Package, ...]
    environment: dict[str, str]
    cache: str
    cache_exists: bool

    @classmethod
    def of_this_process(cls) -> Installation:
        """Look around."""
        checkout, cache = Path(__file__).resolve().parents[1], cache_folder()
        state = git_state() if (checkout / "pyproject.toml").exists() else None
        commit = None if state is None else f"{state['commit']}{'+' if state['dirty'] else ''}"
        environment = {name: os.environ[name] for name in _SHOWN if name in os.environ}
        environment |= {name: "set" for name in _ONLY_WHETHER_SET if name in os.environ}
        return cls(
            version=__version__,
            commit=commit,
            platform=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            cores=os.cpu_count() or 1,
            packages=tuple(_packages()),
            environment=environment,
            cache=_without_home(cache),
            cache_exists=cache.is_dir(),
        )

    def extras(self) -> dict[str, str]:
        """Each extra: ``present``, ``absent`` or ``in part``."""
        found: dict[str, list[bool]] = {}
        for package in self.packages:
            if package.extra:
                found.setdefault(package.extra, []).append(package.version is not None)
        return {
            extra: "present" if all(there) else "in part" if any(there) else "absent"
            for extra, there in found.items()
        }


def _packages() -> list[Package]:
    """The packages that the installed metadata ask for."""
    try:
        asked = metadata.requires("imi-bench") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in asked:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, wanted, extra = match.group(1), match.group(2).strip(), match.group(3) or ""
        found.append(Package(name, wanted, extra, _version(name)))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _without_home(path: Path) -> str:
    home = Path.home()
    inside = path.is_relative_to(home) and home != Path(home.anchor)
    return f"~/{path.relative_to(home).as_posix()}" if inside else path.as_posix()
