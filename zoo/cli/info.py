"""`zoo info`: what is known of one architecture, preset or checkpoint."""

from typing import Annotated

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A name from `zoo list`, or a saved folder.")],
    card: Annotated[bool, typer.Option("--card/--no-card", help="Print the card.")] = False,
    as_json: _common.Json = False,
) -> None:
    """Details of a model or of weights."""
    from zoo import registry

    if card:
        text = registry.card(name)
        _common.emit({"name": name, "card": text}, text, as_json=as_json)
        return
    about = registry.info(name)
    _common.emit(about, _common.tree(about), as_json=as_json)
