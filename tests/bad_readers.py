"""Readers for test_worker.py: a worker imports this file, so it is light."""

import ctypes
import os
import sys
import time

import numpy as np

from sightwave.errors import ShapeError
from sightwave.reading.worker import in_worker


def process_of(path):
    return os.getpid()


def give_back(path, *args):
    return args


def crash(path):
    ctypes.string_at(0)


def leave(path):
    sys.exit(0)


def hang(path):
    while True:
        pass


def wait(path):
    time.sleep(1000)


def doze(path):
    time.sleep(1.5)
    return "read"


def devour(path):
    kept = []
    while True:
        kept.append(np.ones(10**6))


def stumble(path):
    raise ZeroDivisionError("cannot divide by the number of channels")


def refuse(path):
    raise ShapeError("axis 1 has 3 channels")


def chatter(path):
    print("reading " * 1000, flush=True)
    os.write(1, b"directly")
    return "read"


def objects(path):
    return {"reader": crash}


def nested(path):
    return in_worker(process_of, path) == os.getpid()


def mapped(path):
    whole = np.memmap(path, "f4", "r", shape=(3, 4))
    return {"turned": whole.T[1:], "copy": np.array(whole)}


def crash_if_used(path):
    if hasattr(sys, "used_before"):
        ctypes.string_at(0)
    sys.used_before = True
    return "read"
