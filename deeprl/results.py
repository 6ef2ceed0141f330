"""Runs read back from disk: folders of `exactrl train`, and the files that other libraries write.

A run is a sequence of evaluation steps with the returns met at each. What a file is, is told by its columns:

    global_step, episode, return, length            `exactrl train`: one row an evaluation episode
    time/total_timesteps, eval/mean_reward          Stable-Baselines3, progress.csv (or rollout/ep_rew_mean)
    r, l, t  under a line of JSON                   Stable-Baselines3, monitor.csv: one row a training episode
    timesteps, results                              Stable-Baselines3, evaluations.npz
    global_step or Step, .../episodic_return        CleanRL, TensorBoard's Value, Weights & Biases (a column a run)

and any table with a step column and a return column that are named. Returns are in the environment's unit of reward,
undiscounted; steps are environment steps.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from exactrl.errors import ExactRLError
from exactrl.files import read_json

__all__ = ["Columns", "RunResult", "read_run", "read_runs"]

EVALUATION_EPISODES = "evaluation episodes"
EVALUATION_MEANS = "evaluation means"
TRAINING_EPISODES = "training episodes"
TRAINING_MEANS = "training means"
LOGGED = "logged values"
#: How many entries, up to a step, a score is the mean of: single training episodes are too noisy to be a score.
WINDOWS = {TRAINING_EPISODES: 10}
SMOOTHED = {TRAINING_EPISODES, LOGGED}

STEP_COLUMNS = ("global_step", "Step", "step", "_step", "time/total_timesteps")
RETURN_COLUMNS = ("return", "episodic_return", "charts/episodic_return", "Value", "value")
KNOWN_FILES = ("evaluations.csv", "evaluations.npz", "progress.csv", "monitor.csv", "0.monitor.csv")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold steps and returns, and which measurement of `exactrl train` is compared."""

    step: str | None = None
    value: str | None = None
    metric: str = "return"


@dataclass(frozen=True)
class RunResult:
    """One run: what it is, and its returns at each of E steps.

    steps: (E,), ascending environment steps. returns: E arrays, the return of each episode at that step; of a source
    that gives means only, one number each. env_id, seed: None where the files do not say. source: what the returns are.
    """

    label: str
    env_id: str | None
    seed: int | None
    steps: NDArray[np.int64]
    returns: tuple[NDArray[np.float64], ...]
    versions: dict[str, str] = field(default_factory=dict)
    source: str = EVALUATION_EPISODES
    path: Path = Path()
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How messages call the run."""
        return self.label if self.seed is None else f"{self.label} seed {self.seed}"

    def curve(self, window: int | None = None) -> NDArray[np.float64]:
        """Score at each step, (E,): mean over its episodes, and for logs of training over the last `window` entries.

        window: None takes 10 for training episodes and 1 for anything else; evaluations are never smoothed.
        """
        means = np.array([entry.mean() for entry in self.returns])
        width = (window or WINDOWS.get(self.source, 1)) if self.source in SMOOTHED else 1
        sums = np.concatenate([[0.0], np.cumsum(means)])
        ends = np.arange(1, len(means) + 1)
        starts = np.maximum(ends - width, 0)
        return np.asarray((sums[ends] - sums[starts]) / (ends - starts)) if width > 1 else means

    def index_at(self, step: int) -> int:
        """Index of the last evaluation at or before a step.

        Raises ExactRLError where the run's first evaluation comes later.
        """
        index = int(np.searchsorted(self.steps, step, side="right")) - 1
        if index < 0:
            raise ExactRLError(
                f"{self.name} ({self.path}) has no result at or before step {step}: its first is at {self.steps[0]}"
            )
        return index


def read_run(
    path: str | Path, *, label: str | None = None, env_id: str | None = None, columns: Columns | None = None
) -> RunResult:
    """Read one run: a folder of `exactrl train`, or a file of another library.

    Raises ExactRLError as `read_runs` does, and where `path` holds several runs.
    """
    runs = read_runs(path, label=label, env_id=env_id, columns=columns)
    if len(runs) > 1:
        raise ExactRLError(f"{path} holds {len(runs)} runs, expected one; name one of them, or use read_runs")
    return runs[0]


def read_runs(
    path: str | Path, *, label: str | None = None, env_id: str | None = None, columns: Columns | None = None
) -> list[RunResult]:
    """Read every run under `path`: one run, a folder with seed-1 ... seed-N, or a table with several runs.

    label, env_id: taken where given, else from the run's config.json, else from the file's header or name.
    Raises ExactRLError for missing, empty or unreadable files, unknown columns, returns or steps that are not finite
    numbers, and steps that go back; the message names file and row.
    """
    path, columns = Path(path), columns or Columns()
    if not path.exists():
        raise ExactRLError(f"cannot read {path}: there is no such file or folder")
    seeds = _seed_folders(path)
    if seeds:
        return [run for folder in seeds for run in read_runs(folder, label=label, env_id=env_id, columns=columns)]
    file = _result_file(path) if path.is_dir() else path
    runs = _read_npz(file) if file.suffix == ".npz" else _read_table(file, columns)
    return [_named(run, file, label, env_id) for run in runs]


def _seed_folders(path: Path) -> list[Path]:
    named = [entry for entry in path.glob("seed-*") if re.fullmatch(r"seed-\d+", entry.name)] if path.is_dir() else []
    return sorted(named, key=lambda entry: int(entry.name.removeprefix("seed-")))


def _result_file(folder: Path) -> Path:
    for name in KNOWN_FILES:
        if (folder / name).exists():
            return folder / name
    if (folder / "config.json").exists():
        raise ExactRLError(f"{folder} has no evaluations.csv: the run has not reached its first evaluation")
    tables = sorted(folder.glob("*.csv"))
    if len(tables) == 1:
        return tables[0]
    found = ", ".join(table.name for table in tables) or "none"
    raise ExactRLError(
        f"{folder} is not the folder of a run: expected evaluations.csv, seed-1/, {', '.join(KNOWN_FILES[1:4])} "
        f"or a single CSV file; found CSV files: {found}. Name one of them"
    )


def _named(run: RunResult, file: Path, label: str | None, env_id: str | None) -> RunResult:
    """Fill in what config.json beside the file knows, and what the caller says."""
    stem = file.stem if file.name not in KNOWN_FILES else file.resolve().parent.name
    config: dict[str, Any] = {}
    if (file.parent / "config.json").exists() and file.name in KNOWN_FILES:
        config = read_json(file.parent / "config.json")
        if not isinstance(config, dict):
            raise ExactRLError(f"{file.parent / 'config.json'} holds no object, expected the settings of a run")
    versions = {str(name): str(value) for name, value in (config.get("versions") or {}).items()}
    seed = config.get("seed", run.seed)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ExactRLError(f"{file.parent / 'config.json'}: seed is {seed!r}, expected an integer")
    return replace(
        run,
        label=label or config.get("algorithm") or run.label or stem,
        env_id=env_id or config.get("env_id") or run.env_id,
        seed=seed,
        versions=versions or run.versions,
        path=file.parent if file.name == "evaluations.csv" else file,
        config=config,
    )


def _read_table(file: Path, columns: Columns) -> list[RunResult]:
    """Read a CSV file, whatever its kind."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ExactRLError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ExactRLError(f"cannot read {file}: it is not UTF-8 text (byte {error.start})") from error
    comments = 1 if lines and lines[0].startswith("#") else 0
    rows = list(csv.reader(lines[comments:]))
    if len(rows) < 2:
        what = "no line at all" if not rows else "a header and no rows"
        raise ExactRLError(f"{file} is empty: it has {what}, expected at least one result")
    table = _Table(file, rows[0], rows[1:], comments + 2)
    if columns.step or columns.value:
        return table.plain(columns.step, columns.value)
    if {"global_step", "episode"} <= set(table.header):
        return [table.evaluations(columns.metric)]
    if columns.metric != "return":
        raise ExactRLError(
            f"{file} has no evaluation episodes, so no {columns.metric} of them: only returns are compared"
        )
    if "time/total_timesteps" in table.header:
        for value, source in (("eval/mean_reward", EVALUATION_MEANS), ("rollout/ep_rew_mean", TRAINING_MEANS)):
            if value in table.header:
                return [table.series("time/total_timesteps", value, source)]
    if {"r", "l", "t"} <= set(table.header):
        return [table.monitor(lines[0] if comments else "")]
    return table.plain(None, None)


@dataclass(frozen=True)
class _Table:
    """The rows of a CSV file; `first` is the line number of the first of them, for messages."""

    file: Path
    header: list[str]
    rows: list[list[str]]
    first: int

    def column(self, name: str) -> Iterator[tuple[int, str]]:
        """Line number and text of each cell."""
        if name not in self.header:
            raise self.unknown(f"no column {name!r}")
        place = self.header.index(name)
        for line, row in enumerate(self.rows, self.first):
            if not row:
                continue
            if len(row) != len(self.header):
                expected = f"expected {len(self.header)}; was the file cut short?"
                raise ExactRLError(f"{self.file}, line {line}: {len(row)} cells, {expected}")
            yield line, row[place].strip()

    def numbers(self, name: str) -> list[tuple[int, float | None]]:
        """Line number and value of each cell, None where it is blank; refuses NaN, infinities and words."""
        result: list[tuple[int, float | None]] = []
        for line, text in self.column(name):
            try:
                value = float(text) if text else None
            except ValueError:
                value = math.nan
            if value is not None and not math.isfinite(value):
                raise ExactRLError(f"{self.file}, line {line}: {name} is {text!r}, expected a finite number")
            result.append((line, value))
        return result

    def evaluations(self, metric: str) -> RunResult:
        """Read one row an episode, episodes of the same step together."""
        steps, episodes, values = (self.numbers(name) for name in ("global_step", "episode", metric))
        grouped: dict[int, dict[float, float]] = {}
        for (line, step), (_, episode), (_, value) in zip(steps, episodes, values, strict=True):
            if step is None or episode is None or value is None:
                raise ExactRLError(f"{self.file}, line {line}: a blank cell, expected a number")
            if grouped and step < next(reversed(grouped)):
                raise ExactRLError(f"{self.file}, line {line}: step {step:.0f} after {next(reversed(grouped))}")
            if episode in (at := grouped.setdefault(int(step), {})):
                raise ExactRLError(f"{self.file}, line {line}: episode {episode:.0f} of step {step:.0f} stands twice")
            at[episode] = value
        return _run(list(grouped), [list(at.values()) for at in grouped.values()], EVALUATION_EPISODES)

    def series(self, step: str, value: str, source: str, only: set[int] | None = None) -> RunResult:
        """Read a step and a number a row; rows without the number are other measurements, and left out."""
        steps: list[int] = []
        values: list[float] = []
        for (line, at), (_, number) in zip(self.numbers(step), self.numbers(value), strict=True):
            if number is None or (only is not None and line not in only):
                continue
            if at is None or (steps and at < steps[-1]):
                found = "blank" if at is None else f"{at:.0f} after {steps[-1]}"
                raise ExactRLError(f"{self.file}, line {line}: {step} is {found}, expected steps that do not go back")
            steps.append(int(at))
            values.append(number)
        if not steps:
            raise ExactRLError(f"{self.file} is empty: no row has a number in {value!r}")
        return _run(steps, [[number] for number in values], source)

    def monitor(self, comment: str) -> RunResult:
        """Read one row a training episode; the lengths add up to the step."""
        steps, total = [], 0.0
        rewards, lengths = self.numbers("r"), self.numbers("l")
        for (line, reward), (_, length) in zip(rewards, lengths, strict=True):
            if reward is None or length is None:
                raise ExactRLError(f"{self.file}, line {line}: a blank cell, expected a number")
            total += length
            steps.append(int(total))
        try:
            env_id = json.loads(comment.lstrip("#")).get("env_id") if comment else None
        except (ValueError, AttributeError):
            env_id = None
        run = _run(steps, [[reward] for _, reward in rewards if reward is not None], TRAINING_EPISODES)
        return replace(run, env_id=None if env_id in (None, "None") else str(env_id))

    def plain(self, step: str | None, value: str | None) -> list[RunResult]:
        """Read any table of steps and returns; a column `seed`, or several return columns, make several runs."""
        at = step or next((name for name in STEP_COLUMNS if name in self.header), None)
        named = [name for name in RETURN_COLUMNS if name in self.header][:1]
        suffixed = [name for name in self.header if name.endswith((" - charts/episodic_return", " - eval/mean_reward"))]
        values = [value] if value else named or suffixed
        if at is None or not values:
            raise self.unknown("no step column" if at is None else "no return column")
        if "seed" in self.header and len(values) == 1:
            return self._by_seed(at, values[0])
        runs = [self.series(at, name, _source(name)) for name in values]
        return [replace(run, label=name.rpartition(" - ")[0]) for run, name in zip(runs, values, strict=True)]

    def _by_seed(self, step: str, value: str) -> list[RunResult]:
        lines: dict[int, set[int]] = {}
        for line, seed in self.numbers("seed"):
            if seed is None or seed != int(seed):
                raise ExactRLError(f"{self.file}, line {line}: the seed is {seed}, expected an integer")
            lines.setdefault(int(seed), set()).add(line)
        return [replace(self.series(step, value, _source(value), lines[seed]), seed=seed) for seed in sorted(lines)]

    def unknown(self, what: str) -> ExactRLError:
        found = ", ".join(repr(name) for name in self.header)
        return ExactRLError(
            f"{self.file}: {what} that is known; its columns are {found}. "
            "Name the right ones with --step-column and --return-column"
        )


def _source(column: str) -> str:
    if column.startswith("eval") or " - eval" in column:
        return EVALUATION_MEANS
    return TRAINING_EPISODES if column.endswith("episodic_return") else LOGGED


def _read_npz(file: Path) -> list[RunResult]:
    """Read the evaluations.npz of Stable-Baselines3: timesteps (E,), results (E, episodes)."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            steps, results = archive["timesteps"], np.asarray(archive["results"], dtype=np.float64)
    except KeyError as error:
        raise ExactRLError(f"{file}: {error}; expected timesteps and results, as EvalCallback writes them") from error
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        raise ExactRLError(f"cannot read {file}: {error}") from error
    if steps.ndim != 1 or results.ndim != 2 or len(steps) != len(results) or results.size == 0:
        shapes = f"timesteps {steps.shape} and results {results.shape}"
        raise ExactRLError(f"{file}: {shapes}, expected (E,) and (E, episodes), not empty")
    if not np.isfinite(results).all():
        row = int(np.argwhere(~np.isfinite(results))[0][0])
        raise ExactRLError(f"{file}, row {row} of results: a return is not finite")
    if (np.diff(steps) <= 0).any():
        raise ExactRLError(f"{file}: timesteps go back, expected them to ascend")
    return [_run([int(step) for step in steps], [list(row) for row in results], EVALUATION_EPISODES)]


def _run(steps: list[int], returns: list[list[float]], source: str) -> RunResult:
    arrays = tuple(np.asarray(entry, dtype=np.float64) for entry in returns)
    return RunResult("", None, None, np.asarray(steps, dtype=np.int64), arrays, source=source)
