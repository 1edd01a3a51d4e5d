"""docs/cli.md holds the help of every command. Run this file to write it anew: python -m tests.cli.test_docs"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from otelbridge.cli.commands import cli

DOCS = Path(__file__).parent.parent.parent / "docs" / "cli.md"
WIDTH = {"max_content_width": 100, "terminal_width": 100}
MARK = "<!-- help -->\n"


def commands(group: click.Group, context: click.Context, path: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    """All commands below a group, with what is typed to call them."""
    for name, command in sorted(group.commands.items()):
        inner = click.Context(command, info_name=name, parent=context, **{**WIDTH, **command.context_settings})
        yield f"{path} {name}", command, inner
        if isinstance(command, click.Group):
            yield from commands(command, inner, f"{path} {name}")


def expected() -> str:
    """The part of the page that is made from the commands."""
    root = click.Context(cli, info_name="otelbridge", **{**cli.context_settings, **WIDTH})
    pages = [f"## {path}\n\n```text\n{command.get_help(context)}\n```\n" for path, command, context in commands(cli, root, "otelbridge")]
    return "\n".join(pages)


def test_the_page_shows_the_help_of_every_command() -> None:
    """docs/cli.md is what the commands say themselves; `python -m tests.cli.test_docs` writes it."""
    assert DOCS.read_text("utf-8").partition(MARK)[2] == "\n" + expected()


if __name__ == "__main__":
    head = DOCS.read_text("utf-8").partition(MARK)[0]
    DOCS.write_text(f"{head}{MARK}\n{expected()}", "utf-8")
