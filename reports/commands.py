"""The subcommands `report regret`, `monotonicity`, `contraction`, `algorithm` and `source`.

Everything heavy is imported inside the commands, so that `exactrl --help` stays quick.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reports.study_page import Report

FLOAT = click.FLOAT


def _shared(out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that both reports have."""
    options = (
        click.option("--problem", help="Built-in problem: bandit, tree or chain.  [default: tree]"),
        click.option("--env-id", help="A toy-text environment of gymnasium, e.g. FrozenLake-v1."),
        click.option("--mdp", type=click.Path(path_type=Path), help="Your own model, JSON of schema exactrl.mdp/1."),
        click.option("--horizon", type=int, help="Actions in an episode; a model may have its own.  [default: 10]"),
        click.option("--step-size", type=FLOAT, default=1.0, show_default=True, help="Of the single gradient steps."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every random draw."),
        click.option("--out", type=click.Path(path_type=Path), default=out, show_default=True, help="Output folder."),
        click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of a table."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples:  exactrl report regret   |   exactrl report monotonicity --env-id FrozenLake-v1 --horizon 10",
)
def report() -> None:
    """Pages: exact studies on one problem; each algorithm and what it rests on; what stands of each source."""


@report.command(
    epilog="Examples:  exactrl report regret --problem bandit   |   exactrl report regret --env-id FrozenLake-v1   |   "
    "exactrl report regret --mdp model.json --steps 128 --out build/regret"
)
@_shared("report-regret")
@click.option("--steps", type=int, default=256, show_default=True, help="Largest T with fixed rewards.")
@click.option("--adversarial-steps", type=int, default=64, show_default=True, help="Largest T with changing rewards.")
@click.option("--sequences", type=int, default=16, show_default=True, help="Reward sequences tried at a time.")
@click.option("--rounds", type=int, default=4, show_default=True, help="Rounds of the search for the worst sequence.")
def regret(
    problem: str | None, env_id: str | None, mdp: Path | None, horizon: int | None, out: Path, as_json: bool,
    **choices: Any,
) -> None:  # fmt: skip
    """Regret against the best policy, over horizons and sizes, beside the bounds.

    Fixed and adversarial rewards, the average and the worst case that a search finds.
    Exit status: 0 done, 2 bad input.
    """
    from exactrl.studies.problems import choose_problem
    from exactrl.studies.regret import RegretOptions, pieces_of, study_regret

    options = RegretOptions(**choices)
    chosen = choose_problem(problem, env_id, mdp, horizon=horizon, seed=options.seed)
    _prepare(out)
    with _progress(pieces_of(chosen, options)) as advance:
        study = study_regret(chosen, options, advance)

    from reports.regret import regret_report

    given = _given(problem, env_id, mdp) | {"horizon": horizon, **asdict(options)}
    settings = _settings("regret", chosen.name, given)
    _finish(out, regret_report(chosen, options, study, settings), asdict(study), as_json)


@report.command(
    epilog="Examples:  exactrl report monotonicity --problem chain   |   "
    "exactrl report monotonicity --env-id FrozenLake-v1 --tau 0.1 --tau-prime 0.02   |   "
    "exactrl report monotonicity --family mpo --mdp model.json"
)
@_shared("report-monotonicity")
@click.option("--tau", type=FLOAT, default=0.2, show_default=True, help="Temperature of the relative entropy.")
@click.option("--tau-prime", type=FLOAT, default=0.05, show_default=True, help="Temperature of the entropy.")
@click.option("--iterations", type=int, default=30, show_default=True, help="Iterations on the problem.")
@click.option("--problems", type=int, default=200, show_default=True, help="Random problems of each kind in the sweep.")
@click.option("--start", default="random", show_default=True, help="First policy: random or uniform.")
@click.option(
    "--family", default="all", show_default=True, help="Methods: ecpo (and PMD), mpo (and policy iteration), all."
)
@click.option("--alpha", type=FLOAT, default=0.2, show_default=True, help="Temperature of MPO and the soft return.")
@click.option("--discount", type=FLOAT, help="Of the family mpo, which has no horizon.  [default: the model's, or 0.9]")
@click.option("--discounted-problems", type=int, default=20, show_default=True, help="Random problems, family mpo.")
def monotonicity(
    problem: str | None, env_id: str | None, mdp: Path | None, horizon: int | None, out: Path, as_json: bool,
    family: str, alpha: float, discount: float | None, discounted_problems: int, **choices: Any,
) -> None:  # fmt: skip
    """Which objective rises and which falls along the exact iterations: ECPO and PMD; MPO and policy iteration.

    ECPO and PMD act on episodes of --horizon actions, MPO and policy iteration on the same model discounted, without a
    horizon; so a model that has none is one for --family mpo.
    Exit status: 0 done, 2 bad input.
    """
    _one_thread()
    from exactrl.studies.improvement import ImprovementOptions
    from exactrl.studies.monotonicity import MonotonicityOptions
    from reports.monotonicity_command import run

    options = MonotonicityOptions(**choices)
    improvement = ImprovementOptions(
        alpha, options.step_size, options.iterations, discounted_problems, options.sweep_iterations, options.start,
        options.seed,
    )  # fmt: skip
    source = _given(problem, env_id, mdp)
    made, study = run(problem, env_id, mdp, horizon, discount, family, options, improvement, source, out)
    _finish(out, made, study, as_json)


@report.command(
    epilog="Examples:  exactrl report contraction   |   exactrl report contraction --env-id FrozenLake-v1 --discount "
    "0.95   |   exactrl report contraction --problem river-swim --temperatures 0.01,0.1,1"
)
@click.option(
    "--problem", help="Built-in problem: garnet (random), chain, river-swim, bandit or tree.  [default: garnet]"
)
@click.option("--env-id", help="A toy-text environment of gymnasium, e.g. FrozenLake-v1.")
@click.option("--mdp", type=click.Path(path_type=Path), help="Your own model, JSON of schema exactrl.mdp/1.")
@click.option("--discount", type=FLOAT, help="Below 1; a model may have its own.  [default: 0.9]")
@click.option("--temperatures", default="0.1,1,10", show_default=True, help="At most five; the hard limit is added.")
@click.option("--iterations", type=int, default=100, show_default=True, help="Most iterations of each kind.")
@click.option("--start", default="zero", show_default=True, help="First action values: zero or random.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every random draw.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="report-contraction", show_default=True, help="Output folder."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of a table.")
def contraction(
    problem: str | None, env_id: str | None, mdp: Path | None, discount: float | None, temperatures: str, out: Path,
    as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Soft and hard value and policy iteration: distance to the fixed point beside its bounds, and the hard limit.

    Exit status: 0 done, 2 bad input.
    """
    _one_thread()
    from exactrl.studies.contraction import ContractionOptions, pieces_of, study_contraction
    from exactrl.studies.discounted import choose_discounted

    options = ContractionOptions(temperatures=_numbers("temperatures", temperatures), **choices)
    chosen = choose_discounted(problem, env_id, mdp, discount=discount, seed=options.seed)
    _prepare(out)
    with _progress(pieces_of(options)) as advance:
        study = study_contraction(chosen, options, advance)

    from reports.contraction import contraction_report

    given = _given(problem, env_id, mdp, "garnet") | {"discount": chosen.mdp.discount, **asdict(options)}
    settings = _settings("contraction", chosen.name, given)
    _finish(out, contraction_report(chosen, options, study, settings), asdict(study), as_json)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    from exactrl.errors import ExactRLError

    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ExactRLError(f"--{name} is {text!r}: expected numbers with commas between them, e.g. 0.1,1,10") from None


@report.command(
    epilog="Examples:  exactrl report algorithm   |   exactrl report algorithm sac ecac --out build/algorithms   |   "
    "exactrl report algorithm ecac --results build/verify"
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Folder of `exactrl verify` whose verdicts are shown.  [default: judged anew, in OUT/claims]",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Reference runs, SUITE/LABEL/seed-N.  [default: benchmarks/reference, where there is one]",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that judge.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="report-algorithm", show_default=True, help="Output folder."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of tables.")
def algorithm(
    names: tuple[str, ...], results: Path | None, runs: Path | None, jobs: int, out: Path, as_json: bool
) -> None:
    """A page for each algorithm: update rule with its verdicts, configuration, repairs, reference curves.

    NAME is sac, sac-score, td3, ddpg or ecac; without any, all of them and an index.
    Exit status: 0 done, 2 bad input.
    """
    from reports.algorithm_command import run

    run(names, results, runs, jobs, out, as_json)


@report.command(
    epilog="Examples:  exactrl report source mpo   |   exactrl report source ecpo soft_q --verdicts build/verify   |   "
    "exactrl report source mpo --json"
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--verdicts", type=click.Path(path_type=Path), default="verdicts", show_default=True,
    help="Folder of `exactrl verify` whose verdicts are shown.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), default="report-source", show_default=True, help="Output folder."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of tables.")
def source(names: tuple[str, ...], verdicts: Path, out: Path, as_json: bool) -> None:
    """A page for each source: what holds, what does not, what was repaired, what not to copy literally.

    NAME is a source of claims: ecpo, mpo, soft_q.  The verdicts are those of `exactrl verify NAME`.
    Exit status: 0 done, 2 bad input.
    """
    from reports.source_command import run

    run(names, verdicts, out, as_json)


def _one_thread() -> None:
    """Where NumPy is yet to be loaded: one thread for linear algebra, small systems gain nothing from more of them."""
    if "numpy" not in sys.modules:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(variable, "1")


def _prepare(out: Path) -> None:
    """Refuse a missing extra and a folder that cannot be written, before any work."""
    from reports.study_page import make_folder

    make_folder(out)


def _progress(pieces: int) -> AbstractContextManager[Callable[[], object]]:
    if not sys.stderr.isatty():
        return nullcontext(lambda: None)
    return _Bar(pieces)


class _Bar(AbstractContextManager[Callable[[], object]]):
    """A progress bar on stderr, as a context that hands out its advance."""

    def __init__(self, pieces: int) -> None:
        self.bar = click.progressbar(length=pieces, label="computing", file=sys.stderr)

    def __enter__(self) -> Callable[[], object]:
        bar = self.bar.__enter__()
        return lambda: bar.update(1)

    def __exit__(self, *details: Any) -> None:
        self.bar.__exit__(*details)


def _given(problem: str | None, env_id: str | None, mdp: Path | None, default: str = "tree") -> dict[str, Any]:
    return {"problem": problem or (None if env_id or mdp else default), "env_id": env_id, "mdp": mdp and str(mdp)}


def _settings(name: str, shown: str, given: dict[str, Any]) -> dict[str, Any]:
    """Everything that the numbers depend on, versions included, and the command that makes them again."""
    import platform

    import matplotlib
    import numpy as np

    from exactrl import __version__

    hidden = {"sweep_steps", "sweep_iterations"}
    flags = [
        f"--{key.replace('_', '-')} {shlex.quote(_written(x))}"
        for key, x in given.items()
        if x is not None and key not in hidden
    ]
    versions = {"exactrl": __version__, "numpy": np.__version__, "matplotlib": matplotlib.__version__}
    return {
        "command": f"exactrl report {name} {' '.join(flags)}",
        "name": shown,
        "options": given,
        "versions": {**versions, "python": platform.python_version()},
    }


def _written(value: Any) -> str:
    return ",".join(str(x) for x in value) if isinstance(value, (tuple, list)) else str(value)


def _finish(out: Path, made: Report, study: dict[str, Any], as_json: bool) -> None:
    from reports.study_page import write_report

    page = write_report(out, made, study)
    if as_json:
        click.echo(json.dumps({"settings": made.settings, "study": study, "page": str(page)}, indent=2))
    else:
        for k, part in enumerate(made.parts()):
            click.echo(part.problem if k == 0 else f"\n{part.problem}")
            for title, header, rows in part.tables:
                click.echo(f"\n{title}\n{_aligned(header, rows)}")
    click.echo(f"page: {page}", err=True)


def _aligned(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"{row[0]:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
