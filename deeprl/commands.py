"""`exactrl train` and `exactrl evaluate`.  The options of `train ALGORITHM` are the fields of its configuration."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import typing
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from deeprl.config import CONFIGS, Config
from exactrl.errors import ExactRLError

INTERRUPTED = 130

TRAIN_EXAMPLES = """\b
Examples:
  exactrl train sac --env-id Pendulum-v1 --total-timesteps 20000
  exactrl train td3 --env-id HalfCheetah-v5 --seeds 3 --jobs 2 --out runs/td3
  exactrl train ecac --env-id Hopper-v5 --as-printed --checkpoint-interval 5000
  exactrl train --resume runs/td3
"""


@click.group(
    invoke_without_command=True, epilog=TRAIN_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a run that was stopped, bit for bit."
)
@click.pass_context
def train(context: click.Context, resume: Path | None) -> None:
    """Train networks with one of the algorithms below; each has a --help of its own.

    The folder of a run (--out) holds config.json, metrics.csv, evaluations.csv, TensorBoard events and checkpoints.
    """
    if context.invoked_subcommand is None and resume is None:
        raise click.UsageError("name an algorithm, or give --resume RUN", context)
    if resume is not None:
        if context.invoked_subcommand is not None:
            raise click.UsageError("--resume takes the algorithm from the run: give no other one", context)
        from deeprl import runs

        config = runs.read_config(resume)
        runs.require_resumable(resume)
        _run(config, resume, resume=True)


def _command(config: type[Config]) -> click.Command:
    def start(out: Path | None, **values: Any) -> None:
        chosen = config(**values)
        _run(chosen, out or _free_folder(chosen), resume=False)

    command = f"exactrl train {config.algorithm} --env-id Pendulum-v1 --total-timesteps 20000 --out runs/first"
    example = f"\b\nExample:\n  {command}"
    parameters = [_option(entry, hint) for entry, hint in _fields(config)]
    place = click.Option(
        ["--out"],
        type=click.Path(path_type=Path),
        metavar="RUN",
        help="The run's folder.  [default: a new one in runs/]",
    )
    return click.Command(
        config.algorithm,
        params=[place, *parameters],
        callback=start,
        help=config.__doc__,
        epilog=example,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def _fields(config: type[Config]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(config)
    return [(entry, hints[entry.name]) for entry in dataclasses.fields(config)]


def _option(entry: dataclasses.Field[Any], hint: Any) -> click.Option:
    name = entry.name.replace("_", "-")
    shared: dict[str, Any] = {
        "default": entry.default,
        "show_default": entry.default is not None,
        "help": entry.metadata["help"],
    }
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if hint is bool:
        return click.Option([f"--{name}/--no-{name}"], **shared)
    if entry.name == "hidden_sizes":
        shared["default"] = ",".join(map(str, typing.cast(tuple[int, ...], entry.default)))
        return click.Option([f"--{name}"], callback=_widths, metavar="N,N", **shared)
    if entry.metadata["choices"]:
        return click.Option([f"--{name}"], type=click.Choice(entry.metadata["choices"]), **shared)
    kind = hint if isinstance(hint, type) else kinds[0]
    return click.Option([f"--{name}"], type=Integer() if kind is int else kind, **shared)


class Integer(click.ParamType[int]):
    """An integer as people write it: 20000, 20_000 or 2e4."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number; what is not a whole one is a usage error."""
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or number != number.to_integral_value() or number.adjusted() > 18:
            self.fail(f"{value!r} is not a whole number such as 20000 or 2e4", param, ctx)
        return int(number)


def _widths(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in value.split(",") if width.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of widths such as 256,256", context, parameter) from None


def _free_folder(config: Config) -> Path:
    """A folder under runs/ that no run has taken."""
    from deeprl.runs import holds_run

    base = f"{config.env_id.replace('/', '-')}-{config.algorithm}-{config.seed}"
    for count in range(1, 10_000):
        folder = Path("runs") / (base if count == 1 else f"{base}-{count}")
        if not holds_run(folder):
            return folder
    raise ExactRLError(f"runs/ holds 9,999 runs called {base}: name the folder with --out")


def _run(config: Config, folder: Path, *, resume: bool) -> None:
    from deeprl import launching

    if sys.stderr.isatty():
        launching.say(f"{config.algorithm} on {config.env_id}, seed {config.seed}, in {folder}")
    try:
        if config.seeds > 1 and config.device == "cpu":
            launching.run_seeds(config, folder, resume=resume)
        else:
            _with_bar(config, folder, resume=resume)
    except KeyboardInterrupt:
        launching.say(f"interrupted; go on with exactrl train --resume {shlex.quote(str(folder))}")
        raise SystemExit(INTERRUPTED) from None
    if config.evaluation_interval == 0:
        click.echo(f"the run is in {folder}; it was not evaluated (--evaluation-interval 0)")
    elif config.seeds > 1:
        _summarise(folder, [folder / f"seed-{config.seed + k}" for k in range(config.seeds)])
    else:
        from deeprl.results import read_run

        score = read_run(folder).curve()[-1]
        click.echo(f"return {score:.1f} over {config.evaluation_episodes} episodes; the run is in {folder}")


def _with_bar(config: Config, folder: Path, *, resume: bool) -> None:
    from deeprl import launching
    from deeprl.progress import Bar

    bar = Bar(config)
    try:
        launching.run_one(config, folder, resume=resume, report=bar)
    finally:
        bar.close()


def _summarise(folder: Path, folders: list[Path]) -> None:
    """Write and print the statistics over the seeds."""
    from deeprl.results import read_run
    from deeprl.statistics import summary
    from exactrl.files import write_json_atomically

    scores = [read_run(one).curve()[-1] for one in folders]
    found = summary(scores)
    write_json_atomically(folder / "summary.json", found)
    low, high = found["iqm_interval"]
    click.echo(
        f"interquartile mean of the return over {len(folders)} seeds: {found['iqm']:.1f} [{low:.1f}, {high:.1f}]"
    )
    click.echo(f"the runs are in {folder}; compare them with others: exactrl compare {folder} OTHER --html FOLDER")


for _config in CONFIGS.values():
    train.add_command(_command(_config))


EVALUATE_EXAMPLES = """\b
Examples:
  exactrl evaluate runs/first --episodes 20
  exactrl evaluate runs/td3/seed-2 --json --video seed-2.mp4
"""


@click.command(epilog=EVALUATE_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(1), help="How many episodes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Episode j is reset with seed + j.")
@click.option("--video", type=click.Path(path_type=Path), help="Record one more episode to this .mp4 file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: Path, episodes: int, seed: int, video: Path | None, as_json: bool) -> None:
    """Evaluate the policy of RUN's newest checkpoint, without exploration, in whole episodes of fixed seeds."""
    import statistics

    from deeprl.agent import load
    from deeprl.evaluation import record_video
    from deeprl.training import greedy

    agent = load(run)
    for line in agent.refused:
        click.echo(f"refused {line}; took the checkpoint before it", err=True)
    found = agent.evaluate(episodes, seed)
    if video is not None:
        record_video(greedy(agent.algorithm, agent.state), agent.config.env_id, video, seed=seed)
    totals = [episode.total for episode in found]
    spread = statistics.stdev(totals) if len(totals) > 1 else None
    if as_json:
        record = {
            "run": str(run),
            "step": agent.step,
            "seed": seed,
            "returns": totals,
            "lengths": [episode.length for episode in found],
            "mean": statistics.fmean(totals),
            "standard_deviation": spread,
        }
        click.echo(json.dumps(record, indent=2))
        return
    plus = f" +- {spread:.1f} (standard deviation between episodes)" if spread is not None else ""
    seeds = f"seeds {seed} to {seed + episodes - 1}"
    click.echo(f"{agent.config.algorithm} on {agent.config.env_id} after {agent.step:,} steps, {seeds}")
    click.echo(f"return {statistics.fmean(totals):.1f}{plus} over {episodes} episodes")
