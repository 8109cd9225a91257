"""`zoo predict`: structures in, structures with energies and forces (or JSON) out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common
from zoo.errors import DataError


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    structures: Annotated[Path, typer.Argument(help="Any file that ASE reads.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .extxyz or .json file.")
    ] = None,
    index: Annotated[str, typer.Option(help="Which frames, as in ASE: ':', '-1', '0:10'.")] = ":",
    batch_size: _common.BatchSize = 16,
    device: _common.Device = "cpu",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Re-run the stored test outputs first.")
    ] = False,
    head: _common.Head = None,
    trust: Annotated[
        bool, typer.Option("--trust/--no-trust", help="Flag structures unlike the training data.")
    ] = False,
    allow_untrained_elements: _common.Untrained = False,
    as_json: _common.Json = False,
) -> None:
    """Energies, forces and stresses of structures."""
    form = _form(output)
    if output is not None:
        output = _common.check_output(output)
    from zoo import hub
    from zoo.apps import predict as app

    frames = _read(structures, index)
    model = hub.load(
        name, device=device, check=check, allow_untrained_elements=allow_untrained_elements
    )
    with _common.progress("predicting", quiet=as_json) as report:
        results = app.predict(
            model, frames, batch_size=batch_size, head=head, trust=trust, progress=report
        )
    outside = sum(not result["trust"]["inside"] for result in results) if trust else 0
    if outside:
        _common.warn(f"{outside} of {len(results)} structures lie outside the training domain")
    if output is not None:
        app.write(output, frames, results, form=form, model=name)
        _common.warn(f"wrote {len(results)} structures to {output}")
    rows = [_row(i, atoms, r) for i, (atoms, r) in enumerate(zip(frames, results, strict=True))]
    if as_json:
        _common.emit({"model": name, "results": app.to_json(results)}, "", as_json=True)
    elif output is None:
        _common.say(_common.table(rows, list(rows[0])))


def _form(output: Path | None) -> str:
    suffix = ".extxyz" if output is None else output.suffix
    forms = {".extxyz": "extxyz", ".xyz": "extxyz", ".json": "json"}
    if suffix not in forms:
        raise typer.BadParameter(
            f"{output} must end in {', '.join(forms)}", param_hint="'--output'"
        )
    return forms[suffix]


def _read(path: Path, index: str) -> list[Any]:
    from ase.io import read

    if not path.is_file():
        raise DataError(f"there is no file {path}; give structures in a format that ASE reads")
    try:
        frames = read(path, index=index)
    except Exception as problem:  # ASE's readers raise whatever their parser meets
        raise DataError(f"ASE can't read {path} (index {index!r}): {problem}") from problem
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise DataError(f"{path} has no frames at index {index!r}")
    return frames


def _row(index: int, atoms: Any, result: dict[str, Any]) -> dict[str, Any]:
    row = {"frame": index, "formula": atoms.get_chemical_formula()}
    if "energy" in result:
        row["energy (eV)"] = f"{result['energy']:.6f}"
    if "forces" in result:
        row["largest force (eV/Å)"] = float((result["forces"] ** 2).sum(-1).max() ** 0.5)
    if "energy_std" in result:
        row["energy spread (eV)"] = float(result["energy_std"])
        row["largest force spread (eV/Å)"] = float(result["forces_std"].max())
    if "trust" in result:
        verdict = result["trust"]
        row["trust score"] = verdict["score"]
        row["domain"] = "inside" if verdict["inside"] else f"outside: {verdict['reason']}"
    return row
