"""The command line: each command is a call of the library, with the same names and the same results.

- ``corpus``: commands on a corpus as a whole; ``copies``: on a part of the dataset; ``research``: what is computed from
  it; ``publishing``: making a Hub repository.
- ``shared``: what they have in common.

Commands are named here, in the order of ``--help``, and each imports what it needs when it runs, from any room, so that
this is quick.
"""

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seamless_interaction.cli import copies, corpus, publishing, research
from seamless_interaction.cli.shared import Selecting


class _Group(TyperGroup):
    def main(self, *args: Any, **options: Any) -> Any:
        """Text that the terminal's encoding does not have is written as escapes, which in JSON are the same."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)


app = typer.Typer(
    name="seamless-interaction",
    cls=_Group,
    help="Seamless Interaction: filmed conversations between two people, as typed Arrow records.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from seamless_interaction import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Seamless Interaction: filmed conversations between two people, as typed Arrow records."""


app.command()(corpus.synthesize)
app.command()(corpus.index)
app.command()(corpus.sizes)
app.command(cls=Selecting)(copies.download)
app.command()(copies.verify)
app.command("list", cls=Selecting)(copies.list_)
app.command(cls=Selecting)(copies.stream)
app.command()(corpus.check_source)
app.command(cls=Selecting)(research.features)
app.command()(research.benchmark)
app.command(cls=Selecting)(publishing.publish)
app.command()(research.train)
