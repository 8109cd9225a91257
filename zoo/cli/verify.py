"""`zoo verify`: measures the symmetries and limits that a model promises."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

Every = Annotated[
    bool,
    typer.Option(
        "--all/--no-all", help="Every architecture and checkpoint, or those whose names match NAME."
    ),
]
Write = Annotated[
    bool,
    typer.Option(
        "--write/--no-write",
        help="Keep the certificate in the manifest of a saved folder; with --all: those of "
        "architectures in models/_certificates.yaml.",
    ),
]


def command(
    name: Annotated[
        str | None, typer.Argument(help="An architecture, preset, checkpoint or saved folder.")
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(help="Your own model instead: package.module:Name or file.py:Name."),
    ] = None,
    arguments: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="Constructor arguments with --module."),
    ] = [],  # noqa: B006  # typer reads it and hands out copies
    domain: Annotated[
        str | None, typer.Option(help="With --module: what a sample is, if it does not say.")
    ] = None,
    checks: Annotated[
        list[str], typer.Option("--check", help="Only this check; may be repeated.")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Of structures and fresh weights.")] = 0,
    device: _common.Device = "cpu",
    every: Every = False,
    write: Write = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for certificate.json, or a .json file."),
    ] = None,
    as_json: _common.Json = False,
) -> None:
    """Measure equivariance, gradients, limits and storage; exit code 3 if a check fails.

    With --all: one line for each architecture and checkpoint.
    """
    if write and (module is not None or checks or seed or device != "cpu"):
        raise typer.BadParameter(
            "goes with a saved folder or --all, every check, seed 0 and the CPU",
            param_hint="'--write'",
        )
    if every:
        if any((module, output, arguments, domain)):
            raise typer.BadParameter(
                "goes without --module, --set, --domain and -o", param_hint="'--all'"
            )
        _verify_all(name or "*", checks, seed, device, write=write, as_json=as_json)
        return
    if (name is None) is (module is None):
        raise typer.BadParameter("give either a NAME or --module", param_hint="NAME")
    values = _common.settings(arguments, "'--set'")
    if values and module is None:
        raise typer.BadParameter("goes with --module only", param_hint="'--set'")
    if domain is not None and module is None:
        raise typer.BadParameter("goes with --module only", param_hint="'--domain'")
    if output is not None:
        _common.check_output(output, folder=output.suffix != ".json")
    from zoo.apps._module import load_module

    subject = name if module is None else load_module(module, values)
    assert subject is not None  # one of the two was given
    if write:
        from zoo import hub

        hub.find(str(subject))  # only weights have a manifest
    _verify(subject, output, checks, domain, seed, device, write=write, as_json=as_json)


def _verify(
    subject: Any,
    output: Path | None,
    checks: list[str],
    domain: str | None,
    seed: int,
    device: str,
    *,
    write: bool,
    as_json: bool,
) -> None:
    """One line for each check of one model."""
    from zoo.apps.verify import verify

    with _common.progress("measuring", quiet=as_json) as report:
        certificate = verify(
            subject,
            output=output,
            checks=checks or None,
            domain=domain,
            seed=seed,
            device=device,
            progress=lambda result, done, total: report(done, total),
        )
    rows = certificate.rows()
    counts = ", ".join(f"{count} {state}" for state, count in certificate.counts.items())
    text = f"{_common.table(rows, list(rows[0]))}\n{certificate.name}: {counts}"
    if write and certificate.passed:
        from zoo import hub

        text += f"\nwrote {hub.annotate(subject, certificate=certificate.to_dict())}"
    _common.emit(certificate.to_dict(), text, as_json=as_json)
    if not certificate.passed:
        raise typer.Exit(_common.CHECK_FAILED)


def _verify_all(
    pattern: str, checks: list[str], seed: int, device: str, *, write: bool, as_json: bool
) -> None:
    """One line for each architecture and checkpoint, and what they come to."""
    from zoo.apps.certify import verify_all, write_certificates

    with _common.progress("measuring", quiet=as_json) as report:
        outcomes = verify_all(
            pattern,
            checks=checks or None,
            seed=seed,
            device=device,
            progress=lambda outcome, done, total: report(done, total),
        )
    rows = [outcome.row() for outcome in outcomes]
    states = [row["result"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("PASS", "FAIL", "skipped"))
    lines = [_common.table(rows, list(rows[0])), counts]
    if write and "FAIL" not in states:
        lines.append(f"wrote {write_certificates(outcomes)}")
    _common.emit(rows, "\n".join(lines), as_json=as_json)
    if "FAIL" in states:
        raise typer.Exit(_common.CHECK_FAILED)
