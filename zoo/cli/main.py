"""The `zoo` command: verbs, exit codes, and what becomes of errors.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 3 a check that ran and
failed, 130 interrupted. A `ZooError` ends as its message; any other exception is a defect of ours
and keeps its traceback.
"""

from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from zoo.cli import (
    _common,
    bench,
    bundle,
    cache,
    compress,
    convert,
    data,
    doctor,
    ensemble,
    export,
    finetune,
    info,
    md,
    predict,
    pull,
    relax,
    reproduce,
    screen,
    train,
    trust,
    upload,
)
from zoo.cli import eval as evaluation
from zoo.cli import list as listing
from zoo.cli import verify as verification
from zoo.errors import ZooError

app = typer.Typer(
    name="zoo",
    help="Load, fine-tune, train and verify geometric deep learning models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("list")(listing.command)
app.command("info")(info.command)
app.command("pull")(pull.command)
app.command("bundle")(bundle.command)
app.command("upload")(upload.command)
app.command("verify")(verification.command)
app.command("predict")(predict.command)
app.command("relax")(relax.command)
app.command("md")(md.command)
app.command("screen")(screen.command)
app.command("train")(train.command)
app.command("reproduce")(reproduce.command)
app.command("finetune")(finetune.command)
app.command("eval")(evaluation.command)
app.command("ensemble")(ensemble.command)
app.add_typer(trust.app, name="trust")
app.command("compress")(compress.command)
app.command("export")(export.command)
app.command("convert")(convert.command)
app.add_typer(cache.app, name="cache")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.command)


def _version(wanted: bool) -> None:
    if wanted:
        from zoo import __version__

        _common.say(f"geometric-zoo {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Load, fine-tune, train and verify geometric deep learning models."""


def run(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after `zoo`; without them those of the process.

    Returns:
        The exit code.
    """
    arguments = None if argv is None else list(argv)
    try:
        get_command(app).main(args=arguments, prog_name="zoo")
    except ZooError as error:
        _common.warn(f"error: {error}")
        return _common.FAILED
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else _common.OK
        if code == _common.INTERRUPTED:
            _common.warn(_reason(leaving))
        return code
    return _common.OK


def _reason(leaving: SystemExit) -> str:
    """What an interrupted verb says of its state; typer keeps the interruption as the cause."""
    cause = getattr(leaving.__context__, "__cause__", None)
    return str(cause) if isinstance(cause, ZooError) else "interrupted"
