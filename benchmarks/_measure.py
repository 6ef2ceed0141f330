"""Side-by-side timing: competitors take turns within one run, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import gc
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from exactrl.files import write_json_atomically, write_text_atomically

Times = dict[str, list[float]]
FOLDER = Path("build/benchmarks")


def interleaved(competitors: Mapping[str, Callable[[], Any]], repeats: int, calls: int = 1) -> Times:
    """CPU seconds of one call of each competitor: `repeats` rounds of `calls` calls, after one round unmeasured."""
    times: Times = {name: [] for name in competitors}
    for run in competitors.values():
        run()
    for turn in range(repeats):
        names = list(competitors) if turn % 2 == 0 else list(reversed(competitors))
        for name in names:
            gc.collect()
            start = time.process_time()
            for _ in range(calls):
                competitors[name]()
            times[name].append((time.process_time() - start) / calls)
    return times


def interleaved_commands(commands: Mapping[str, Sequence[str]], repeats: int) -> Times:
    """CPU seconds (user and system) of whole Python processes, `repeats` rounds, after one round unmeasured."""
    times: Times = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, arguments in commands.items():
            before = _child_seconds()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if turn:
                times[name].append(_child_seconds() - before)
    return times


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of the samples."""
    low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
    return {"median": middle, "q25": low, "q75": high, "n": len(samples)}


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """How many times longer the first takes, round by round: median and quartiles."""
    return summary([a / b for a, b in zip(slower, faster, strict=True)])


def difference(one: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Seconds that the first takes more, round by round: median and quartiles."""
    return summary([a - b for a, b in zip(one, other, strict=True)])


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, versions; nothing that names the machine."""
    packages = {}
    for name in ("numpy", "scipy", "python-flint"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "system": platform.system(),
        "python": platform.python_version(),
        "blas": blas.get("name"),
        "packages": packages,
    }


def seconds_per(operation: Callable[[], Any], count: float, repeats: int = 9) -> float:
    """CPU seconds of one of the `count` operations that a call does: the best of the repeats, as a limit should be."""
    calls = 1
    while _timed(operation, calls) < 0.01:
        calls *= 2
    return min(_timed(operation, calls) for _ in range(repeats)) / calls / count


def write(name: str, data: Mapping[str, Any]) -> Path:
    """Write the figures as JSON with the facts of the machine; return where."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    write_json_atomically(path, {"schema": "exactrl.benchmark/1", "machine": machine(), **data}, indent=2)
    return path


def spread(figures: Mapping[str, float], scale: float = 1.0, digits: int = 2) -> str:
    """A median with its quartiles, as 3.1 [2.9, 3.4]."""
    low, middle, high = (f"{figures[key] * scale:.{digits}f}" for key in ("q25", "median", "q75"))
    return f"{middle} [{low}, {high}]"


def write_table(name: str, text: str) -> None:
    """Replace what stands between the two marks of `name` in benchmarks/README.md."""
    page = Path(__file__).with_name("README.md")
    begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    write_text_atomically(page, f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def say(line: str) -> None:
    """Tell how far a long benchmark has come."""
    print(line, file=sys.stderr, flush=True)


def _timed(operation: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        operation()
    return time.process_time() - start


def _child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
