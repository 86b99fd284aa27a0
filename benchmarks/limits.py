"""Every long command under a limit of memory, open files or file size: one line, nothing half done.

Each command of `kills.py` runs once to its end, then under each limit. It must end with 0, 2, 3 or
70, say what is wrong in one line (no traceback), leave no temporary file, and go on to the same
outputs once the limit is gone.

    python benchmarks/limits.py [--only fit predict]
"""

from __future__ import annotations

import argparse
import resource
import signal
from collections.abc import Callable

from kills import leftovers, once, outputs, prepare, references
from measuring import table

MEGABYTE = 1 << 20
LIMITS: dict[str, tuple[int, int]] = {
    "memory 600 MB": (resource.RLIMIT_AS, 600 * MEGABYTE),
    "memory 900 MB": (resource.RLIMIT_AS, 900 * MEGABYTE),
    "memory 1,300 MB": (resource.RLIMIT_AS, 1300 * MEGABYTE),
    "16 open files": (resource.RLIMIT_NOFILE, 16),
    "files of 2 kB": (resource.RLIMIT_FSIZE, 2048),
    "files of 64 kB": (resource.RLIMIT_FSIZE, 65536),
}


def limited(kind: int, most: int) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(kind, (most, most))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return apply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    for place, (name, make, root, wanted, _) in enumerate(references(arguments.only)):
        for number, (limit, (kind, most)) in enumerate(LIMITS.items()):
            work = root / str(number)
            prepare(name, work)
            code, said = once(make(work), before=limited(kind, most))
            lines = [line for line in said.splitlines() if line.startswith("error")]
            last = (said.strip().splitlines() or [""])[-1][:110]
            row = {"command": name, "limit": limit, "code": code, "said": last}
            row["in one line"] = code == 0 or ("Traceback" not in said and len(lines) == 1)
            row["clean"] = not leftovers(work)
            row["goes on alike"] = once(make(work))[0] == 0 and outputs(name, work) == wanted
            table([row], heading=place + number == 0)


if __name__ == "__main__":
    main()
