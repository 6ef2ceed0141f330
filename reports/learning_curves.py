"""The command `exactrl compare`: algorithms side by side, with intervals, from the runs on disk.

Everything heavy is imported inside the command, so that `exactrl --help` stays quick.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exactrl.errors import ExactRLError
from reports.commands import _aligned, _progress

if TYPE_CHECKING:
    from deeprl.comparison import CompareOptions
    from deeprl.results import Columns, RunResult

__all__ = ["compare", "comparison_tables", "number"]

LARGEST_SEED = 2**32 - 1
INTERVAL = "95%"


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples:  exactrl compare runs/sac runs/td3 --html compare   |   "
    "exactrl compare sac=runs/sac sb3=runs/sb3-1 sb3=runs/sb3-2 --at 100000   |   "
    "exactrl compare ppo=log.csv --step-column step --return-column reward --env-id Hopper-v5 --json",
)
@click.argument("runs", nargs=-1, required=True, metavar="[LABEL=]RUN...")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page, its pictures and compare.json there.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of tables.")
@click.option("--metric", type=click.Choice(["return", "length"]), default="return", show_default=True,
              help="Measurement of the evaluation episodes.")  # fmt: skip
@click.option("--at", type=click.IntRange(min=0), help="Step of the scores.  [default: the last that all runs have]")
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--resamples", type=click.IntRange(min=2), default=5000, show_default=True, help="Of the bootstrap.")
@click.option("--env-id", help="Environment of the files that do not name theirs.")
@click.option("--step-column", help="Column of a CSV file that holds environment steps.")
@click.option("--return-column", help="Column of a CSV file that holds returns.")
@click.option("--window", type=click.IntRange(min=1), help="Logged training returns a score is the mean of.")
@click.option("--normalise", is_flag=True, help="Also compare over all environments: random policy 0, best mean 1.")
@click.option("--random-return", multiple=True, metavar="ENV=VALUE", help="A random policy's return, to normalise by.")
def compare(runs: tuple[str, ...], html: Path | None, as_json: bool, **choices: Any) -> None:
    """Compare algorithms by their runs: interquartile means, differences, and how sure one may be of them.

    A RUN is a folder written by `exactrl train` (also one with seed-1, seed-2, ...), or a CSV or npz file of another
    library (Stable-Baselines3, CleanRL, TensorBoard, Weights & Biases). Runs with the same label and environment are
    one algorithm; LABEL= names it, otherwise config.json or the name of the file does.

    Exit status: 0 done, 2 bad input.
    """
    from deeprl.comparison import CompareOptions, compare_runs, pieces_of
    from deeprl.results import Columns

    columns = Columns(choices["step_column"], choices["return_column"], choices["metric"])
    options = CompareOptions(
        choices["at"], choices["seed"], choices["resamples"], choices["metric"], choices["window"],
        choices["normalise"], _random_returns(choices["random_return"]),
    )  # fmt: skip
    found, assumed = _read(runs, columns, choices["env_id"])
    if html is not None:
        _make_folder(html)
    with _progress(pieces_of(found, options)) as advance:
        result = compare_runs(found, options, advance)
    result = {"settings": _settings(runs, html, choices, options), "notes": assumed, **result}
    _show(result, as_json)
    if html is not None:
        from reports.learning_page import write_comparison

        click.echo(f"page: {write_comparison(html, result)}", err=True)


def _read(arguments: Sequence[str], columns: Columns, env_id: str | None) -> tuple[list[RunResult], list[str]]:
    """Read all runs; files without an environment get the one that is given, or the only one that others name."""
    from deeprl.results import read_runs

    found = []
    for argument in arguments:
        label, path = _label_and_path(argument)
        found += read_runs(path, label=label, columns=columns)
    silent = [run for run in found if run.env_id is None]
    if not silent:
        return found, []
    known = {run.env_id for run in found} - {None}
    if env_id is None and len(known) > 1:
        names = ", ".join(sorted(map(str, known)))
        raise ExactRLError(f"{silent[0].path} names no environment, and the others are of {names}: give --env-id")
    taken = env_id or next(iter(known), None)
    filled = [replace(run, env_id=taken) if run.env_id is None else run for run in found]
    if env_id or taken is None:
        return filled, []
    paths = ", ".join(dict.fromkeys(str(run.path) for run in silent))
    return filled, [f"Taken to be of {taken}, as the other runs are, for want of a record: {paths} (--env-id)."]


def _label_and_path(argument: str) -> tuple[str | None, Path]:
    label, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    if not label or not path:
        raise ExactRLError(f"{argument!r}, expected RUN or LABEL=RUN")
    return label, Path(path)


def _random_returns(given: Sequence[str]) -> dict[str, float]:
    result = {}
    for text in given:
        env_id, _, value = text.rpartition("=")
        try:
            result[env_id] = float(value)
        except ValueError:
            result[env_id] = math.nan
        if not env_id or not math.isfinite(result[env_id]):
            raise ExactRLError(f"--random-return {text!r}, expected ENV=VALUE, e.g. Hopper-v5=18.0")
    return result


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise ExactRLError(f"cannot write in the folder {folder}: {reason}; choose another with --html") from error


def _settings(
    runs: Sequence[str], html: Path | None, choices: Mapping[str, Any], options: CompareOptions
) -> dict[str, Any]:
    """The command that makes the numbers again, and the versions that they were made with."""
    import platform
    from importlib.metadata import version
    from importlib.util import find_spec

    from exactrl import __version__

    words = ["exactrl", "compare", *runs]
    for name, value in {"html": html, **choices}.items():
        for entry in value if isinstance(value, tuple) else (value,):
            flag = f"--{name.replace('_', '-')}"
            if entry is not None and entry is not False:
                words += [flag] if entry is True else [flag, str(entry)]
    packages = {name: version(name) for name in ("rliable", "numpy", "scipy", "matplotlib") if find_spec(name)}
    return {
        "command": shlex.join(words),
        "window": options.window,
        "random_returns": dict(options.random_returns),
        "versions": {"exactrl": __version__, **packages, "python": platform.python_version()},
    }


def _show(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    for title, header, rows in comparison_tables(result):
        click.echo(f"{title}\n{_aligned(header, rows)}\n")
    click.echo(f"bootstrap: {result['resamples']:,} resamples, seed {result['seed']}")
    for note in [*result["notes"], *(text for part in result["environments"] for text in part["warnings"])]:
        click.echo(f"warning: {note}", err=True)


def comparison_tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Tables as (title, header, rows): algorithms and pairs of each environment, then of all of them, normalised."""
    tables = []
    for part in result["environments"]:
        title = f"{part['env_id']}, {result['metric']} at step {part['at']:,}"
        tables.append((title, *_group_table(part["groups"], part["at"])))
        if part["pairs"]:
            tables.append((f"{part['env_id']}, pairs", *_pair_table(part["pairs"], one=True)))
    if result["normalised"]:
        names = ", ".join(entry["env_id"] for entry in result["normalised"]["references"])
        tables.append((f"normalised scores over {names}", *_group_table(result["normalised"]["groups"], None)))
        tables.append(("normalised scores, pairs", *_pair_table(result["normalised"]["pairs"], one=False)))
    return tables


def _group_table(groups: Sequence[Mapping[str, Any]], at: int | None) -> tuple[list[str], list[list[str]]]:
    header = ["algorithm", "runs", f"IQM [bootstrap {INTERVAL}]"]
    header += [f"mean ± t {INTERVAL}", "standard deviation", "at step"] if at is not None else ["mean"]
    rows = []
    for group in groups:
        row = [group["label"], str(len(group["runs"])), f"{number(group['iqm'])} {interval(group['iqm_interval'])}"]
        if at is None:
            rows.append([*row, number(group["mean"])])
            continue
        ends = group["mean_t_interval"]
        half = f" ± {number((ends[1] - ends[0]) / 2)}" if ends else ""
        rows.append([*row, number(group["mean"]) + half, number(group["standard_deviation"]), f"{at:,}"])
    return header, rows


def _pair_table(pairs: Sequence[Mapping[str, Any]], *, one: bool) -> tuple[list[str], list[list[str]]]:
    header = ["pair", f"P(first > second) [bootstrap {INTERVAL}]", f"mean difference [bootstrap {INTERVAL}]"]
    rows = []
    for pair in pairs:
        row = [
            f"{pair['first']} against {pair['second']}",
            f"{pair['probability']:.2f} {interval(pair['probability_interval'], digits=2)}",
            f"{number(pair['difference'])} {interval(pair['difference_interval'])}",
        ]
        rows.append([*row, interval(pair["welch_interval"])] if one else row)
    return [*header, f"Welch {INTERVAL}"] if one else header, rows


def number(value: float | None) -> str:
    """Return a number to about four digits, thousands set apart, never in powers of ten unless it is tiny."""
    if value is None:
        return "none"
    size = abs(value)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    text = f"{value:.2g}" if 0 < size < 0.01 else f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def interval(ends: Sequence[float] | None, digits: int | None = None) -> str:
    """Return [low, high], or that there is none."""
    if ends is None:
        return "[no interval]"
    low, high = (number(end) if digits is None else f"{end:.{digits}f}" for end in ends)
    return f"[{low}, {high}]"
