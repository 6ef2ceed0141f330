"""`python -m proofs_checks.power [--write]`: measure the power of the search, and keep the measurement."""

from __future__ import annotations

import click

from exactrl.files import write_json_atomically
from proofs_checks.power.suite import MEASURED, run, summary


@click.command()
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--write", is_flag=True, help="Write measured.json beside this file.")
def main(profile: str, seed: int, jobs: int, write: bool) -> None:
    """Judge known truths and planted falsehoods, and say how many fell."""
    measured = summary(run(profile, seed, jobs))
    truths = measured["truths"]
    click.echo(f"seed {seed}, profile {profile}: {truths['refuted']} of {truths['planted']} truths refuted")
    for shape, count in measured["falsehoods"].items():
        click.echo(f"{shape:12} {count['found']} of {count['planted']} planted falsehoods found")
    for id, item in measured["items"].items():
        if item["verdict"] != {"truth": "survived", "falsehood": "refuted"}[item["kind"]]:
            click.echo(f"{id}: a {item['kind']} was {item['verdict']}")
    if write:
        write_json_atomically(MEASURED, measured)


if __name__ == "__main__":
    main()
