"""Foreign formats are parsed in another process, with limits of time and memory, so that no file can take ours down.

One mutated file in a hundred kills or hangs the best readers there are. `in_worker` calls a reader in a process of its
own and hands back what it returns; a crash, a hang, a bomb or any error of the reader becomes a `DataError` that names
the file. This contains accidents and bombs; it is no jail for code that is made to break out.
"""

from __future__ import annotations

import configparser
import glob
import importlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightwave import errors
from sightwave.errors import DataError, SightwaveError
from sightwave.files import must_exist
from sightwave.reading.parcel import BROKEN, receive, send

__all__ = ["in_worker"]

SECONDS, MEGABYTES = 60.0, 1000.0
"""What every file may take, besides half a second and 16 MB for each of its megabytes."""
PATIENCE = 10
"""How many times as long a reader may take by the clock: others may hold the processor, or the disk is far away."""
IDLE_S = 30.0
ORDINARY = (SightwaveError, ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NameError, OSError,
            RuntimeError, SyntaxError, TypeError, ValueError, configparser.Error, struct.error, zlib.error)  # fmt: skip
"""Errors that a reader may raise and be asked for the next file."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # each would reserve memory
_START = "from sightwave.reading.worker import _serve; _serve()"

_kept: _Worker | None = None
_lock = threading.Lock()
_inside = False  # true in the worker itself


def in_worker(
    function: Callable[..., Any], path: Path, *args: Any, seconds: float | None = None, megabytes: float | None = None
) -> Any:
    """Return ``function(path, *args)``, called in another process with limits of time and memory.

    The process is started at the first call (0.2 s, and what ``function`` imports), is kept for the next one, and ends
    when it has nothing to do; so a data set of many files calls this once per file.

    Parameters
    ----------
    function : callable
        Of a module, not a lambda or a method. Takes (``args`` are its other arguments) and returns plain values: None,
        numbers, text, bytes, lists, tuples, sets, dicts, paths, arrays, and DataFrames (without their index), nested
        as you like. Arrays travel raw; those that map ``path`` stay maps of it.
    path : Path
        The file, or the folder of a file in parts; every error names it.
    seconds, megabytes : float or None
        Limits of processor time and memory; None grows with the size of the file and of those beside it whose names
        begin alike. By the clock it may take `PATIENCE` times as long, which is all that is limited on Windows.

    Raises
    ------
    MissingFile
        If there is no such file.
    DataError
        If the reader crashes, hangs, needs too much memory, or raises anything that is not ours.
    SightwaveError
        What ``function`` raises of our own, the same.

    >>> import zipfile
    >>> in_worker(zipfile.is_zipfile, Path(zipfile.__file__))
    False
    """
    must_exist(path)
    if _inside:
        return function(path, *args)
    size = _size_mb(path)
    seconds = SECONDS + size / 2 if seconds is None else seconds
    megabytes = MEGABYTES + 16 * size if megabytes is None else megabytes
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise TypeError(f"in_worker: {function.__qualname__} must be a function of a module that can be imported.")
    request = (function.__module__, function.__qualname__, path, args, seconds, megabytes)
    with _lock:
        answer = _ask(request, path, seconds)
    if answer[0] == "value":
        return answer[1]
    _, kind, text = answer
    ours = getattr(errors, kind, None)
    if isinstance(ours, type) and issubclass(ours, SightwaveError):
        raise ours(text if str(path) in text else f"{path}: {text}")
    if kind == "MemoryError":
        raise DataError(
            f"{path}: reading it takes over {megabytes:,.0f} MB. A sound file of its size takes less; copy it again."
        )
    if kind == "late":
        raise DataError(f"{path}: not read within {seconds:.3g} s. A sound file of its size takes less; copy it again.")
    if kind == "crash":
        raise DataError(f"{path}: its reader crashed ({text}). The file is damaged, or made to do harm; copy it again.")
    text = " ".join(text.split()).rstrip(".")
    raise DataError(f"{path}: cannot be read, {kind}: {text}. Is it whole, and what its name says? Copy it again.")


def _ask(request: tuple[Any, ...], path: Path, seconds: float) -> tuple[Any, ...]:
    """Answer of the kept process; when one that read other files before fails, a fresh one is asked again."""
    global _kept
    fresh = _kept is None or _kept.process.poll() is not None
    if _kept is None or fresh:
        _kept = _Worker()
    answer = _kept.ask(request, path, seconds)
    if not fresh and answer[0] == "last" and answer[1] != "late":
        _kept = _Worker()
        answer = _kept.ask(request, path, seconds)
    return answer


def _size_mb(path: Path) -> float:
    """Megabytes of a folder, or of a file and its companions: a header's samples lie beside it."""
    stem = path.name.partition(".")[0]
    there = path.rglob("*") if path.is_dir() else path.parent.glob(f"{glob.escape(stem)}*")
    return sum(p.stat().st_size for p in there if p.is_file()) / 1e6


# ---- this side


class _Worker:
    """A process that reads files one after the other; it ends with anything that could have harmed it."""

    def __init__(self) -> None:
        known = os.pathsep.join(p or os.getcwd() for p in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=os.environ | dict.fromkeys(_THREADS, "1") | {"PYTHONPATH": known},
        )  # fmt: skip
        self._late = False
        self.end = weakref.finalize(self, _end, self.process)  # also when Python ends

    def ask(self, request: tuple[Any, ...], path: Path, seconds: float) -> tuple[Any, ...]:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None  # for the type checker
        assert self.process.stdout is not None
        timer = threading.Timer(seconds * PATIENCE, self._stop)
        answer: tuple[Any, ...] = ()
        try:
            send(self.process.stdin, request)
            answer = receive(self.process.stdout)
            if answer == ("ready",):  # it has started, and imported the reader
                answer = ()
                timer.start()
                answer = receive(self.process.stdout, path)
        except BROKEN as e:
            broken = e
        finally:
            timer.cancel()
            if not answer or answer[0] == "last":
                self.end()
        if answer:
            return answer
        late = self._late or self.process.returncode == -getattr(signal, "SIGXCPU", 0)
        return ("last", "late", "") if late else ("last", "crash", self._why(broken))

    def _stop(self) -> None:
        self._late = True
        self.process.kill()

    def _why(self, broken: Exception) -> str:
        code = self.process.returncode
        if code < 0 and code != -signal.SIGKILL:  # ours, or the system's for want of memory
            return signal.Signals(-code).name
        return "it was killed" if isinstance(broken, (EOFError, OSError)) else "its answer makes no sense"


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            try:
                pipe.close()
            except OSError:
                continue  # what it never took is lost with it
    process.kill()
    process.wait()


def _forget() -> None:
    """In a fork, the process belongs to whoever was forked."""
    global _kept, _lock
    _kept, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# ---- the other side


def _serve() -> None:
    """Answer requests from standard input until it ends; an error that is not `ORDINARY` ends the process."""
    global _inside
    _inside = True
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a reader prints is no answer
    warnings.simplefilter("ignore")

    def report(kind: type[BaseException], e: BaseException, _: Any) -> None:
        _limit(None, None)  # else there may be no memory to tell that there is none
        send(answers, ("last", kind.__name__, str(e)[:300]))

    sys.excepthook = report
    while True:
        idle = threading.Timer(IDLE_S, os._exit, (0,))
        idle.daemon = True
        idle.start()
        try:
            module, name, path, args, seconds, megabytes = receive(requests)
        except EOFError:
            return
        idle.cancel()
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        send(answers, ("ready",))
        _limit(seconds, megabytes)
        try:
            value = function(path, *args)
            send(answers, ("value", value), path)
        except MemoryError:
            raise
        except ORDINARY as e:
            _limit(None, None)
            send(answers, ("error", type(e).__name__, str(e) if isinstance(e, SightwaveError) else str(e)[:300]))
        _limit(None, None)
        value = None


def _limit(seconds: float | None, megabytes: float | None) -> None:
    """Set the limits of this process, where the platform has any; None lifts them."""
    try:
        import resource
    except ImportError:
        return
    wanted = {
        resource.RLIMIT_CPU: None if seconds is None else int(time.process_time() + seconds) + 1,
        resource.RLIMIT_DATA: None if megabytes is None else int(megabytes * 1e6),
    }
    for which, most in wanted.items():
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (hard if most is None or 0 <= hard < most else most, hard))
