"""`zoo predict`: structures or samples in, predictions out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common


def command(
    name: Annotated[str, typer.Argument(help="A checkpoint, or a saved folder.")],
    structures: Annotated[
        str,
        typer.Argument(help="Structures that ASE reads; else a file or set of the model's domain."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="An .extxyz or .json file; else .npz, .csv or .json."),
    ] = None,
    index: Annotated[str, typer.Option(help="Which frames, as in ASE: ':', '-1', '0:10'.")] = ":",
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
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
    """Energies, forces and stresses of structures; classes or numbers of other samples."""
    named = _common.pairs(keys, "'--key'")
    from zoo import hub
    from zoo.apps import predict as app

    if output is not None:
        domain = hub.read_manifest(hub.find(name)).inputs.domain
        _check_ending(output, app.formats(domain))
        output = _common.check_output(output, source=structures)
    model = hub.load(
        name, device=device, check=check, allow_untrained_elements=allow_untrained_elements
    )
    frames = app.read(model, structures, index=index, keys=named or None)
    with _common.progress("predicting", quiet=as_json) as report:
        results = app.predict(
            model, frames, batch_size=batch_size, head=head, trust=trust, progress=report
        )
    outside = sum(not result["trust"]["inside"] for result in results) if trust else 0
    if outside:
        _common.warn(f"{outside} of {len(results)} structures lie outside the training domain")
    if output is not None:
        app.write(output, frames, results, model=model, name=name)
        _common.warn(f"wrote {len(results)} {_noun(model)} to {output}")
    rows = [_row(i, atoms, r) for i, (atoms, r) in enumerate(zip(frames, results, strict=True))]
    if as_json:
        _common.emit({"model": name, "results": app.to_json(results)}, "", as_json=True)
    elif output is None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        _common.say(_common.table(rows, columns))


def _check_ending(output: Path, forms: dict[str, str]) -> None:
    if output.suffix not in forms:
        raise typer.BadParameter(
            f"{output} must end in {', '.join(forms)}", param_hint="'--output'"
        )


def _noun(model: Any) -> str:
    return "samples" if hasattr(model, "domain") else "structures"


def _row(index: int, sample: Any, result: dict[str, Any]) -> dict[str, Any]:
    """One line of the table on the screen."""
    if not hasattr(sample, "get_chemical_formula"):
        return _sample_row(index, result)
    row = {"frame": index, "formula": sample.get_chemical_formula()}
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


def _sample_row(index: int, result: dict[str, Any]) -> dict[str, Any]:
    """The class and its probability; of rows (nodes, pairs, steps) how many there are."""
    row: dict[str, Any] = {"sample": index}
    for name, value in result.items():
        if name in ("logits", "probabilities"):
            continue
        array = value if hasattr(value, "ndim") else None
        if array is None or array.ndim == 0:
            row[name.replace("class_index", "class number")] = (
                value if array is None else array.item()
            )
        elif array.size <= 4:
            row[name] = array.ravel().tolist()
        else:
            row[name] = f"{' x '.join(map(str, array.shape))} values"
    if "probabilities" in result and result["probabilities"].ndim == 1:
        row["probability"] = float(result["probabilities"].max())
    return row
