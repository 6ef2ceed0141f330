"""The command `exactrl`.

Its subcommands are found by entry points (group `exactrl.commands`), so any package can add one.

Exit status: 0 done, 1 a result differs from what was expected, 2 bad usage or input, 3 inconclusive within the budget.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from exactrl import __version__
from exactrl.errors import ExactRLError

GROUP = "exactrl.commands"
INTERRUPTED = 130


class InstalledCommands(click.Group):
    """A group whose commands are the installed entry points, loaded when they are asked for."""

    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the installed commands."""
        return sorted(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command; a missing extra is named instead of a traceback."""
        entry = self._entries().get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = entry.load()
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"`exactrl {cmd_name}` needs the package {error.name}: "
                "install the extras, e.g. pip install 'exactrl[proofs,reports]'"
            ) from None
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; bad input ends in one line on stderr and status 2."""
        try:
            return super().invoke(ctx)
        except ExactRLError as error:
            raise BadInput(str(error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted; the same command takes up where it stopped", err=True)
            raise SystemExit(INTERRUPTED) from None


class BadInput(click.ClickException):
    """Bad input: the message, and exit status 2."""

    exit_code = 2


@click.command(
    cls=InstalledCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples:  exactrl demo   |   exactrl claims ecpo.lemma1   |   exactrl verify ecpo --jobs 2 --out verdicts",
)
@click.version_option(__version__, prog_name="exactrl")
def main() -> None:
    """Referee for the theory of policy optimisation: settle claims exactly, on finite problems.

    Exit status: 0 done, 1 a result differs from what was expected, 2 bad usage or input, 3 inconclusive within the
    budget.
    """


if __name__ == "__main__":
    main()
