"""What a terminal shows while a run trains: a bar for one trainer, a line a seed for several; elsewhere nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deeprl.config import Config

if TYPE_CHECKING:
    from deeprl.launching import Worker
    from deeprl.training import Trainer

# Seconds between looks at the clock and lines to the terminal.
REFRESH = 0.5


class Bar:
    """A trainer's report: steps, steps a second, time left, return."""

    def __init__(self, config: Config) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=config.total_timesteps, unit="step", smoothing=0.05, disable=None, file=sys.stderr)
        self._next = 0.0

    def __call__(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now < self._next and not trainer.finished:
            return
        self._next = now + REFRESH
        if self._bar.n == 0 and trainer.first_step:
            self._bar.initial = trainer.first_step
        self._bar.n = min(trainer.step, trainer.config.total_timesteps)
        self._bar.set_postfix_str(progress_text(trainer), refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


def progress_text(trainer: Trainer) -> str:
    """The newest return of the first seed, and the mean of the last evaluation over all of them."""
    latest, evaluation = trainer.members[0].latest_return, trainer.last_evaluation
    parts = [] if latest is None else [f"return {latest:.0f}"]
    if evaluation:
        parts.append(f"evaluation {sum(evaluation) / len(evaluation):.0f}")
    return ", ".join(parts)


class LiveTable:
    """A line for each seed, rewritten in place."""

    def __init__(self, workers: Sequence[Worker], total: int) -> None:
        self._workers, self._total = workers, total
        self._terminal = sys.stderr.isatty()
        self._drawn = 0

    def show(self) -> None:
        """Draw the table over the one before."""
        if self._terminal:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            lines = [self._line(worker)[: width - 1] for worker in self._workers]
            sys.stderr.write(self._back() + "".join(f"\x1b[K{line}\n" for line in lines))
            sys.stderr.flush()
            self._drawn = len(lines)

    def say(self, line: str) -> None:
        """Print a line that stays, above the table; on a terminal or not."""
        print(f"{self._back()}\x1b[J{line}" if self._terminal else line, file=sys.stderr, flush=True)
        self._drawn = 0

    def _back(self) -> str:
        return f"\x1b[{self._drawn}F" if self._drawn else ""

    def _line(self, worker: Worker) -> str:
        left = (self._total - worker.step) / worker.rate if worker.rate else None
        clock = "" if worker.over or left is None else f"{worker.rate:6.0f} steps/s, {_clock(left)} left"
        share = 100 * min(1.0, worker.step / self._total)
        text = " ".join(worker.text.split())
        return f"seed {worker.seed:<4} {worker.step:>10,} {share:5.1f}%  {clock:<32} {text}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what takes so long; on a terminal with the seconds that it has taken, elsewhere once."""
    if not sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)
        yield
        return
    started, over = time.monotonic(), threading.Event()

    def show() -> None:
        while not over.wait(REFRESH):
            sys.stderr.write(f"\r\x1b[K{what}: {time.monotonic() - started:.0f} s")
            sys.stderr.flush()

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()
        sys.stderr.write(f"\r\x1b[K{what}: {time.monotonic() - started:.0f} s\n")
        sys.stderr.flush()
