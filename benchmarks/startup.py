"""CPU seconds until the command line answers what runs no command, and until ``import sfumato`` is done.

Each answer is checked first. The time is user and system time of the whole process; the best of the rounds
is printed, beside the aim, and that of an empty Python process, which nothing can be below.

    python benchmarks/startup.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from dataclasses import dataclass

AIM_SECONDS = 0.5


@dataclass(frozen=True)
class Start:
    """A command line of Python, and what it must answer: its exit status, and a text in its output."""

    name: str
    arguments: tuple[str, ...]
    status: int
    text: str


STARTS = (
    Start("an empty process", ("-c", "pass"), 0, ""),
    Start("import sfumato", ("-c", "import sfumato; print(sfumato.__version__)"), 0, "."),
    Start("sfumato --version", ("-m", "sfumato", "--version"), 0, "sfumato "),
    Start("sfumato --help", ("-m", "sfumato", "--help"), 0, "reproduce"),
    Start("sfumato trian", ("-m", "sfumato", "trian"), 2, "Did you mean 'train'?"),
)


def cpu_seconds(start: Start) -> float:
    """Run the process, check its answer, and return its user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, *start.arguments], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != start.status or start.text not in result.stdout + result.stderr:
        sys.exit(f"{start.name}: status {result.returncode}, {result.stdout}{result.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one line per start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, best of {rounds} rounds")
    for start in STARTS:
        seconds = min(cpu_seconds(start) for _ in range(rounds))
        verdict = "ok" if seconds < AIM_SECONDS else "MISSED"
        print(f"{start.name:20} {seconds:.3f} s CPU   aim {AIM_SECONDS} s: {verdict}")


if __name__ == "__main__":
    main()
