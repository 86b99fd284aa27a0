"""`imi-bench`: puts the groups of verbs together and turns errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import io
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from imi_bench import __version__
from imi_bench.cli.guard import guard
from imi_bench.cli.metavars import name_values
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.text import printable

# Modules with the verbs that each has; one without verbs here has a `group` of its own name.
VERBS: dict[str, tuple[str, ...]] = {
    "demo": ("demo",),
    "run": ("run",),
    "fewshot": ("fewshot",),
    "report": ("report",),
    "paper": ("paper",),
    "observers": (),
    "cache": (),
    "doctor": ("doctor",),
    "data": (),
    "score": ("calibrate", "score", "compare"),
    "learn": ("learn",),
    "fit": ("fit",),
    "model": (),
    "effects": ("effects",),
    "power": ("power",),
    "networks": (),
    "stimuli": (),
    "mis": ("mis",),
    "collect": (),
    "submit": (),
    "leaderboard": (),
    "gate": ("gate",),
}

_FAULT = 70  # sysexits.h: not 1, which means that a check failed
_STOPPED = 130  # 128 + SIGINT: Ctrl-C

app = typer.Typer(
    name="imi-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Machine observers answer the 2-AFC interpretability experiment of the IMI dataset.",
    epilog="Exit codes: 0 fine, 1 a check failed, 2 wrong usage or bad input, "
    "3 not comparable or not enough data, 70 a fault of the program or of an observer's "
    "code, 130 stopped by Ctrl-C.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imi-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Carry the options of the whole program."""


for place, verbs in VERBS.items():
    module = importlib.import_module(f"imi_bench.cli.{place}")
    for verb in verbs:
        app.command(verb)(getattr(module, f"{verb}_command"))
    if not verbs:
        app.add_typer(module.group, name=place)
name_values(app)
guard(app)


def main() -> None:
    """Run the command line; every error that is not a bug is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows ASCII alone shows "?"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if (line := tight_memory()) is not None:
        typer.echo(line, err=True)
    try:
        code = app(standalone_mode=False)
    except ImiBenchError as error:
        _end(f"error: {error}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _STOPPED
    except SystemExit as error:  # ours are codes that `app` gives back
        if isinstance(error.__context__, BrokenPipeError):  # rich ends so, where `head` has read on
            sys.stderr.close()
            sys.exit(0)
        traceback.print_exc()
        what = f"code of an observer, or of what it loads, ended the program ({error.code!r})"
        _end(f"error: {what}", _FAULT)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if (line := failed_write(error)) is None:
            _fault()
        _end(line, InputError.exit_code)
    except MemoryError as error:
        _end(f"error: out of memory: {str(error) or 'no more to be had'}; {_SMALLER}", _FAULT)
    except Exception as error:
        if (line := killed_worker(error)) is not None:
            _end(line, _FAULT)
        if not _of_usage(error):
            _fault()
        _end(_usage(error), InputError.exit_code)
    if code == _STOPPED:
        _end("stopped; no file is half-written", _STOPPED)
    sys.exit(code)


_ENOUGH = 1 << 30  # of address space; loading OpenBLAS alone takes some 600 MB
_SMALLER = "free memory, or give less at a time (smaller batches, fewer images or observers)"
_REMEDIES = {
    errno.ENOSPC: "free space on that disk and run the command again",
    errno.EDQUOT: "free space within your quota and run the command again",
    errno.EFBIG: "raise the limit on file size (`ulimit -f`) and run the command again",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`) and run the command again",
    errno.ENFILE: "close programs that hold many files and run the command again",
    errno.EROFS: "name an output folder that can be written",
    errno.EACCES: "name a file or folder that you may use",
    errno.EPERM: "name a file or folder that you may use",
    errno.ENOMEM: _SMALLER,
}


def tight_memory() -> str | None:
    """One line on a limit under which libraries abort or hang as they are loaded; None else."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most >= _ENOUGH:
        return None
    return (
        f"memory is limited to {most >> 20} MB (`ulimit -v`): below {_ENOUGH >> 20} MB libraries "
        "may end the command without a reason, or hang; raise the limit"
    )


def failed_write(error: OSError) -> str | None:
    """One line on a disk that is full, a limit or a forbidden folder; None for a fault of ours."""
    where = f"{error.filename}: " if error.filename is not None else ""
    if not where and error.errno not in _REMEDIES:
        return None
    remedy = f"; {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else ""
    return f"error: cannot read or write: {where}found {error.strerror}{remedy}"


def killed_worker(error: BaseException) -> str | None:
    """One line on memory that ran out in a library or killed a worker process; None otherwise."""
    name, text = type(error).__name__, str(error)
    if name in ("TerminatedWorkerError", "BrokenProcessPool"):
        return f"error: a worker process was killed, most likely for want of memory; {_SMALLER}"
    if name == "SystemError" and "without" in text:  # "... setting", "... exception set", "raising"
        return f"error: out of memory, most likely: a library gave no reason; {_SMALLER}"
    said = ("can't allocate memory", "cannot allocate memory", "failed to map segment", "bad_alloc")
    if name in ("OutOfMemoryError", "ArrowMemoryError") or any(s in text.lower() for s in said):
        return f"error: out of memory: {text.splitlines()[0][:160]}; {_SMALLER}"
    return None


def _end(line: str, code: int) -> NoReturn:
    if line:
        typer.echo(printable(line), err=True)
    sys.exit(code)


def _fault() -> NoReturn:
    """Show where the program, or an observer of somebody else's, broke."""
    traceback.print_exc()
    sys.exit(_FAULT)


def _of_usage(error: Exception) -> bool:
    """Whether it is click's error of usage, of which typer exports no name."""
    return hasattr(error, "format_message") and hasattr(error, "ctx")


def _usage(error: Any) -> str:
    """One line; none where the help has been printed for want of arguments."""
    message = " ".join(error.format_message().split())
    return f"error: {message} (see `{error.ctx.command_path} --help`)" if message else ""
