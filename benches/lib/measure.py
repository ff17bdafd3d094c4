"""Runs commands and counts: time on the wall, processor time, memory."""

import contextlib
import mmap
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time


class Failed(Exception):
    """A command that is measured did not do its work; `said` is what it said last."""

    def __init__(self, what, said=""):
        super().__init__(f"{what}: {said}" if said else what)
        self.said = said


class Run:
    """What one run of a command took. Its memory is never less than that of this program, from which it forks."""

    def __init__(self, wall, usage):
        self.wall = wall
        self.cpu = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss


def run(argv, given=subprocess.DEVNULL):
    """Runs a command and measures it; `given` is its standard input."""
    with tempfile.TemporaryFile() as said:
        before = time.perf_counter()
        child = subprocess.Popen(argv, stdin=given, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - before
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            text = said.read().decode(errors="replace")[-400:].strip()
            raise Failed(f"{' '.join(argv)[:200]}: exit {child.returncode}", text)
    return Run(wall, usage)


def run_piped(write, argv):
    """Measures a command whose standard input is a pipe that `write(pipe)` fills, in a process of its own."""
    reading, writing = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            os.close(reading)
            write(writing)
        finally:
            os._exit(1)  # What it wrote is judged by who reads it.
    os.close(writing)
    try:
        return run(argv, reading)
    finally:
        os.close(reading)
        os.waitpid(writer, 0)


def all_at_once(argvs):
    """Returns how long these commands take side by side."""
    before = time.perf_counter()
    children = [subprocess.Popen(argv, stdout=subprocess.DEVNULL) for argv in argvs]
    if any([child.wait() for child in children]):
        raise Failed(" ".join(argvs[0]))
    return time.perf_counter() - before


def quiet(*argv):
    """Runs a command that is not measured and may fail."""
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def output(*argv):
    """Returns what a command prints."""
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def median(runs):
    return statistics.median(runs)


def settle(folder):
    """Lets nothing be left to write from what was before."""
    quiet("sync", "-f", folder)


REPORTING = "/sys/module/page_reporting/parameters/page_reporting_order"


@contextlib.contextmanager
def kept_memory():
    """A guest's memory stays with it, where its kernel gives back to the host what is free for some seconds. To have a page
    again takes four times what a page takes otherwise, and whoever comes first pays. Yields whether that could be done."""
    try:
        with open(REPORTING) as file:
            before = file.read()
        with open(REPORTING, "w") as file:
            file.write("11")  # blocks larger than there are
    except OSError:
        yield False
        return
    try:
        # In a process of its own: what is measured forks from this one, and never has less memory.
        taker = multiprocessing.get_context("fork").Process(target=take_back)
        taker.start()
        taker.join()
        yield True
    finally:
        with open(REPORTING, "w") as file:
            file.write(before)


def take_back():
    """Uses as much memory as the files will have, once."""
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemFree:"))
    piece = b"\1" * (1 << 20)
    with mmap.mmap(-1, min(free * 3 // 4, 8 << 30)) as memory:
        for _ in range(len(memory) // len(piece)):
            memory.write(piece)
