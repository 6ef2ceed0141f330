"""Run one trainer, or several seeds side by side: a process of one thread each, watched by the one that began them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprl import runs
from deeprl.config import Config
from deeprl.progress import REFRESH, LiveTable, progress_text
from exactrl.errors import ExactRLError

if TYPE_CHECKING:
    from deeprl.training import Trainer

Tell = Callable[[str], None]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_one(config: Config, folder: Path, *, resume: bool, report: Any = None, tell: Tell = say) -> Trainer:
    """Train (or take up) the run in `folder` and return its trainer, closed.

    report: called with the trainer after every step. tell: called with each line that the user should see.
    Raises ExactRLError for a folder that another process trains in, and as `Trainer` does.
    """
    from deeprl.training import Trainer

    if resume:
        runs.require_resumable(folder)
    else:
        runs.require_free(folder)
    trainer = Trainer(config, folder, report)
    with runs.locked(folder):
        if resume:
            _take_up(trainer, folder, tell)
        else:
            runs.begin(folder, trainer.config)
        if config.seeds > 1:
            for member in trainer.members:
                assert member.folder is not None
                if not runs.holds_run(member.folder):
                    single = trainer.config.replace(seed=member.seed, seeds=1)
                    runs.begin(member.folder, single, stacked_in=folder)
        if trainer.finished:
            trainer.close()
        else:
            trainer.run()
    return trainer


def _take_up(trainer: Trainer, folder: Path, tell: Tell) -> None:
    """Go back to the newest usable checkpoint and say what is worth knowing about it."""
    trainer.resume()
    for line in trainer.refused:
        tell(f"refused {line}; went back to the checkpoint before it")
    total = trainer.config.total_timesteps
    if trainer.finished:
        tell(f"{folder}: is finished, all {total:,} steps are done")
        return
    for line in runs.changed_versions(folder):
        tell(f"another version than at the start, results may differ: {line}")
    tell(f"{folder}: goes on from step {trainer.step:,} of {total:,}")


@dataclass
class Worker:
    """One seed's process and the last thing that it said."""

    seed: int
    config: Config
    folder: Path
    resume: bool
    process: Any = None
    connection: Connection | None = None
    step: int = 0
    rate: float = 0.0
    text: str = "waits"
    error: str | None = None
    over: bool = False


class _Pipe:
    """A trainer's report that goes to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next = 0.0

    def __call__(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REFRESH
        rate = (trainer.step - trainer.first_step) / max(time.perf_counter() - trainer.started, 1e-9)
        self._connection.send(("progress", (trainer.step, rate, progress_text(trainer))))


def _work(config: Config, folder: Path, resume: bool, connection: Connection) -> None:
    """Train one seed in this process.  Messages: progress, a line for the user, at last over (the error or None)."""
    # An interrupt is the parent's affair; when the parent is gone, however it went, so is this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(line: str) -> None:
        connection.send(("line", line))

    error: str | None = None
    try:
        trainer = run_one(config, folder, resume=resume, report=_Pipe(connection), tell=tell)
        connection.send(("progress", (trainer.step, 0.0, progress_text(trainer))))
    except ExactRLError as problem:
        error = str(problem)
    connection.send(("over", error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # Not sys.exit: the main thread trains.  A run may end at any moment and is taken up from its checkpoint.
    os._exit(1)


def run_seeds(config: Config, folder: Path, *, resume: bool) -> list[Path]:
    """Train every seed in a process of its own, `jobs` at once, and return their folders.

    Seed k's files are bit for bit those of a run of seed k alone.
    Raises ExactRLError before any folder is made for what cannot be trained, and when all are over if a seed failed.
    """
    from deeprl.training import Trainer

    if not resume:
        runs.require_free(folder)
        Trainer(config.replace(seeds=1), folder).close()
    with runs.locked(folder):
        if not resume:
            runs.begin(folder, config.resolved())
        workers = [_worker(config, folder, seed, resume) for seed in range(config.seed, config.seed + config.seeds)]
        # Every process must find the limit when it imports torch.
        os.environ["OMP_NUM_THREADS"] = str(config.threads)
        table = LiveTable(workers, config.total_timesteps)
        try:
            _supervise(workers, config.jobs or os.cpu_count() or 1, table)
        finally:
            for worker in workers:
                if worker.process is not None and worker.process.is_alive():
                    worker.process.terminate()
                    worker.process.join()
    failed = [f"seed {worker.seed}: {worker.error}" for worker in workers if worker.error]
    if failed:
        raise ExactRLError("\n".join(failed))
    return [worker.folder for worker in workers]


def _worker(config: Config, folder: Path, seed: int, resume: bool) -> Worker:
    own = folder / f"seed-{seed}"
    return Worker(seed, config.replace(seed=seed, seeds=1, jobs=0), own, resume and runs.holds_run(own))


def _supervise(workers: list[Worker], jobs: int, table: LiveTable) -> None:
    """Keep `jobs` processes running and hear what they say until all is done."""
    context = multiprocessing.get_context("spawn")
    waiting = list(workers)
    while any(not worker.over for worker in workers):
        running = [worker for worker in workers if worker.connection is not None]
        while waiting and len(running) < jobs:
            worker = waiting.pop(0)
            worker.connection, theirs = context.Pipe(duplex=False)
            worker.process = context.Process(
                target=_work, args=(worker.config, worker.folder, worker.resume, theirs), daemon=True
            )
            worker.process.start()
            theirs.close()
            running.append(worker)
        for ready in wait([worker.connection for worker in running if worker.connection], timeout=REFRESH):
            _listen(next(worker for worker in running if worker.connection is ready), table)
        table.show()


def _listen(worker: Worker, table: LiveTable) -> None:
    """Take one message of a seed's process."""
    assert worker.connection is not None
    try:
        kind, content = worker.connection.recv()
    except EOFError:
        worker.process.join()
        kind, content = "over", f"its process ended with status {worker.process.exitcode}; take it up with --resume"
    if kind == "progress":
        worker.step, worker.rate, worker.text = content
    elif kind == "line":
        table.say(f"seed {worker.seed}: {content}")
    else:
        worker.connection.close()
        worker.process.join()
        worker.error, worker.over, worker.connection = content, True, None
        worker.text = f"failed: {content}" if content else f"done, {worker.text}"
