"""The subcommands `claims`, `verify`, `check` and `demo`.

Everything heavy is imported inside the commands, so that `exactrl --help` stays quick.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exactrl.errors import ExactRLError

if TYPE_CHECKING:
    from proofs_checks.claim import Claim

CHECKER = Path(__file__).parent / "checker" / "main.py"
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout instead of text.")


@click.command(epilog="Examples:  exactrl claims   |   exactrl claims ecpo.lemma1   |   exactrl claims ecpo --json")
@click.argument("pattern", metavar="[ID]", required=False)
@JSON_OPTION
def claims(pattern: str | None, as_json: bool) -> None:
    """List the claims, or show one with its readings.

    ID is a claim such as ecpo.lemma1, or a source such as ecpo.
    """
    from proofs_checks.catalogue import catalogue
    from proofs_checks.claim import registry, select

    chosen = select([pattern] if pattern is not None else [])
    if as_json:
        click.echo(json.dumps(catalogue(chosen), indent=2))
    elif pattern in {c.id for c in chosen}:
        _show(chosen[0])
    else:
        width = max(map(len, registry()))  # of all claims: a line looks the same in every list
        for c in chosen:
            click.echo(f"{c.id:{width}}  {c.where}: {c.title}")


def _show(claim: Claim) -> None:
    click.echo(f"{claim.id}\n  {claim.title}\n  where: {claim.where}; kind: {claim.kind}; shape: {claim.shape}")
    click.echo(f"  statement: {claim.statement}")
    for name, reading in claim.readings.items():
        click.echo(f"  {name} reading assumes: {'; '.join(reading.assumptions)}")
    if claim.explanation:
        click.echo(f"  {claim.explanation}")


@click.command(
    epilog="Examples:  exactrl verify ecpo --jobs 2   |   exactrl verify ecpo.lemma1 --profile full --seed 7   |   "
    "exactrl verify --expect expected.json   |   exactrl verify ecpo.lemma1 --instance mine.json"
)
@click.argument("patterns", metavar="[IDS|PREFIX]...", nargs=-1)
@click.option(
    "--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True, help="Size of the search."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random draw.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes of one thread each.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("verdicts"), show_default=True, help="Output folder."
)
@click.option("--expect", type=click.Path(path_type=Path), help='Expected verdicts, {"id": {"literal": "refuted"}}.')
@click.option("--instance", type=click.Path(path_type=Path), help="Judge one instance of your own (JSON of rationals).")
@click.option("--mdp", type=click.Path(path_type=Path), help="Judge on your own model (JSON, exactrl.mdp/1).")
@JSON_OPTION
def verify(
    patterns: tuple[str, ...],
    profile: str,
    seed: int,
    jobs: int,
    out: Path,
    expect: Path | None,
    instance: Path | None,
    mdp: Path | None,
    as_json: bool,
) -> None:
    """Settle claims: search for violations, certify them, and write verdicts, certificates and a page.

    IDS are claims (ecpo.lemma1) or sources (ecpo); without any, all claims.  A run that was interrupted resumes: run
    the same command again.  Exit status: 0 ran to the end, 1 a verdict differs from --expect, 2 bad input, 3 a reading
    is undecided.
    """
    from proofs_checks.catalogue import catalogue
    from proofs_checks.claim import select
    from proofs_checks.expectations import read_expectations
    from proofs_checks.illustrations import illustrations_for
    from proofs_checks.verify import differences, own_pieces, pieces_of
    from proofs_checks.verify import verify as run

    write_page = _page_writer("verify")
    chosen = select(patterns)
    expected = read_expectations(expect) if expect else {}
    if instance is not None or mdp is not None:
        if not patterns or (instance is not None and mdp is not None):
            raise click.UsageError("give the claim's id with --instance or --mdp, and one of the two only")
        pieces = own_pieces(chosen, profile, seed, instance=instance, mdp=mdp)
    else:
        pieces = pieces_of(chosen, profile, seed)
    absent = [id for id in expected if id not in {piece.claim for piece in pieces}]
    if absent:
        raise ExactRLError(f"{expect}: {absent[0]} is not among the claims to judge: name it too, or drop it")
    click.echo(f"seed {seed}, profile {profile}", err=True)
    with click.progressbar(length=len(pieces), label="judging", file=sys.stderr) as bar:
        verdicts, certificates = run(
            chosen,
            out=out,
            profile=profile,
            seed=seed,
            jobs=jobs,
            pieces=pieces,
            progress=lambda done, total, name: bar.update(1),
        )
    page = write_page(
        out, verdicts, catalogue(chosen), certificates, illustrations_for([c["id"] for c in verdicts["claims"]])
    )
    click.echo(json.dumps(verdicts, indent=2) if as_json else _summary(verdicts))
    click.echo(f"page: {page}", err=True)
    changed = differences(verdicts, expected)
    for line in changed:
        click.echo(line, err=True)
    undecided = any(r["verdict"] == "undecided" for c in verdicts["claims"] for r in c["readings"].values())
    sys.exit(1 if changed else 3 if undecided else 0)


def _page_writer(name: str) -> Any:
    """Find who draws the page of a command; pages stand above claims, so they are looked up, not imported."""
    for entry in entry_points(group="exactrl.pages", name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            raise ExactRLError(
                f"the page needs the package {error.name}: install the extra, e.g. pip install 'exactrl[reports]'"
            ) from None
    raise ExactRLError(f"no installed package draws the page of {name!r}: install exactrl with its entry points")


def _summary(verdicts: dict[str, Any]) -> str:
    width = max(len(c["id"]) for c in verdicts["claims"])
    lines = [f"{'claim':{width}}  {'literal':10} intended"]
    for c in verdicts["claims"]:
        literal, intended = (c["readings"].get(name, {}).get("verdict", "-") for name in ("literal", "intended"))
        lines.append(f"{c['id']:{width}}  {literal:10} {intended}")
    return "\n".join(lines)


@click.command(epilog="Example:  exactrl check verdicts/certificates/*.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@JSON_OPTION
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check certificates again, by a program that shares no code with the search.

    Exit status: 0 all accepted, 1 one was rejected, 2 one could not be read.
    """
    arguments = [sys.executable, "-I", str(CHECKER), "--", *map(str, files)]
    finished = subprocess.run(arguments, check=False, capture_output=True, text=True)
    click.echo(finished.stderr, nl=False, err=True)
    if as_json:
        lines = finished.stdout.splitlines() + finished.stderr.splitlines()
        click.echo(json.dumps([{"accepted": line.startswith("ok "), "message": line} for line in lines], indent=2))
    else:
        click.echo(finished.stdout, nl=False)
    sys.exit(finished.returncode)


@click.command(epilog="Example:  exactrl demo")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the search.")
@JSON_OPTION
def demo(seed: int, as_json: bool) -> None:
    """Judge one true claim and one false one, and show the counterexample in fractions (a few seconds)."""
    from proofs_checks.demo import run_demo

    click.echo(run_demo(seed, as_json=as_json))
