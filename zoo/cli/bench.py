"""`zoo bench`: time and memory, measured here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common

app = typer.Typer(help="Time and memory, measured on this machine.", no_args_is_help=True)
#: of what is measured against a peer
COLUMNS = ("what", "ours", "peer", "ratio", "target")


@app.command("adapters")
def adapters(
    name: Annotated[
        str, typer.Argument(help="An architecture or preset on atoms.")
    ] = "tensornet-s",
    rank: Annotated[int, typer.Option(min=1, help="Of the adapters.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 40,
    as_json: _common.Json = False,
) -> None:
    """A training step with adapters against full fine-tuning; inference after merging, in ms."""
    from zoo.apps._bench_adapters import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(name, rank=rank, repeats=repeats, progress=bar)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("atoms")
def atoms(
    name: Annotated[str, typer.Argument(help="An architecture or preset.")] = "tensornet",
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 20,
    peers: Annotated[
        Path | None, typer.Option(help="Folder with the authors' packages (pip --target).")
    ] = None,
    as_json: _common.Json = False,
) -> None:
    """Training step, memory, neighbour lists, start-up and scatter."""
    from zoo.apps.bench import atoms as measure

    *rows, machine = measure(name, repeats=repeats, peers=peers)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("clifford")
def clifford(
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 10,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Also compiled products and layers.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Geometric products and a network of them against their einsum formulation."""
    from zoo.apps._bench_clifford import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(repeats=repeats, compiled=compiled, progress=bar)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("data")
def data(
    name: Annotated[str, typer.Argument(help="An architecture or preset.")] = "tensornet",
    frames: Annotated[int, typer.Option(min=1, help="Frames of the LMDB.")] = 100_000,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of the extended XYZ file.")] = 1024,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 40,
    as_json: _common.Json = False,
) -> None:
    """Frames a second from memory, extended XYZ and LMDB, memory, and the part of a step."""
    from zoo.apps.bench import data as measure

    *rows, machine = measure(name, frames=frames, megabytes=megabytes, steps=steps)
    _show(rows, machine, ("what", "ours", "target"), as_json=as_json)


@app.command("manifolds")
def manifolds(
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 20,
    as_json: _common.Json = False,
) -> None:
    """SPD networks and geometry, and the Poincaré ball, against spd-learn, geoopt and hypll."""
    from zoo.apps._bench_manifolds import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(repeats=repeats, progress=bar)
    _show(rows, machine, ("what", "ours", "peer", "ratio", "target", "note"), as_json=as_json)


@app.command("relax")
def relax(
    name: Annotated[str, typer.Argument(help="A checkpoint.")] = "tensornet-s.gfn2-md10.r2",
    structures: Annotated[int, typer.Option(min=4, help="Molecules.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 1,
    as_json: _common.Json = False,
) -> None:
    """Relaxing many small molecules at once against one ASE calculator in a loop."""
    from zoo.apps._bench_relax import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(name, structures=structures, repeats=repeats, progress=bar)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("sheaf")
def sheaf(
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 10,
    as_json: _common.Json = False,
) -> None:
    """A layer of sheaf diffusion against assembling the sparse Laplacian; time and memory."""
    from zoo.apps._bench_sheaf import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(repeats=repeats, progress=bar)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("tensor-power")
def tensor_power(
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 5,
    as_json: _common.Json = False,
) -> None:
    """The layer of S(n) from order 2 to order 2 against its dense maps; time and memory."""
    from zoo.apps._bench_tensor_power import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(repeats=repeats, progress=bar)
    _show(rows, machine, COLUMNS, as_json=as_json)


@app.command("tensor-network")
def tensor_network(
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 7,
    as_json: _common.Json = False,
) -> None:
    """Factorised layers through their cores against weights that are multiplied out."""
    from zoo.apps._bench_tensor_network import measure

    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(repeats=repeats, progress=bar)
    _show(rows, machine, ("what", "operations", "ours", "peer", "ratio", "target"), as_json=as_json)


@app.command("tensor-products")
def tensor_products(
    lmax: Annotated[int, typer.Option(min=1, max=12, help="Degrees 1 to this are measured.")] = 10,
    channels: Annotated[int, typer.Option(min=1, help="Of both inputs.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples.")] = 1000,
    repeats: Annotated[int, typer.Option(min=3, help="Timed rounds at most.")] = 20,
    settings: Annotated[
        str, typer.Option(help="Of siso, simo, mimo, separated by commas.")
    ] = "siso,simo,mimo",
    methods: Annotated[
        str, typer.Option(help="Of cg, cg_sparse, gaunt_grid, ..., e3nn; without it all.")
    ] = "",
    device: _common.Device = "cpu",
    so2: Annotated[
        bool,
        typer.Option("--so2/--no-so2", help="Time SO2Convolution and CPTensorProduct as well."),
    ] = True,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the CSV files and the plot.")
    ] = Path("tensor-products"),
    as_json: _common.Json = False,
) -> None:
    """Time, memory and expressivity of every tensor product, and which one to take."""
    from zoo.apps import _bench_tp_report as report
    from zoo.apps._bench_tp import NAMES, measure

    output = _common.check_output(output, folder=True)
    with _common.progress("measuring", quiet=as_json) as bar:
        *rows, machine = measure(
            lmax=lmax,
            channels=channels,
            batch=batch,
            repeats=repeats,
            settings=_names(settings),
            methods=_names(methods) or NAMES,
            device=device,
            progress=bar,
        )
    files = report.write(output, rows, machine)
    messages = _messages(lmax, device, quiet=as_json) if so2 else []
    if so2:
        shared, file = _path_shared(min(lmax, 6), device, output, machine, quiet=as_json)
        messages, files = messages + shared, [*files, file]
    parts = [_common.table(report.table_rows(rows), list(report.COLUMNS.values()))]
    if messages:
        parts.append(_common.table(messages, ("what", "ours", "peer", "ratio", "note")))
    parts.append(_about(machine))
    parts += report.recommendation(rows)
    parts.append("wrote " + ", ".join(str(file) for file in files))
    _common.emit([*rows, *messages, machine], "\n".join(parts), as_json=as_json)


def _messages(lmax: int, device: str, *, quiet: bool) -> list[dict[str, Any]]:
    """The product of features with harmonics of edges, where frames make it cheap."""
    from zoo.apps._bench_so2 import PEER_LIMIT, measure
    from zoo.apps._bench_tp import check_device

    with _common.progress("SO(2) convolutions", quiet=quiet) as bar:
        rows = measure(
            3,
            lmax=min(max(lmax, 2), PEER_LIMIT),
            device=check_device(device),
            progress=bar,
            degrees=range(2, max(lmax, 4) + 1, 2),
        )
    # what is aimed at holds for one size, not for the reader's
    return [{key: value for key, value in row.items() if key != "target"} for row in rows]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _path_shared(
    lmax: int, device: str, folder: Path, machine: dict[str, Any], *, quiet: bool
) -> tuple[list[dict[str, Any]], Path]:
    """The path-shared product against e3nn, its growth, and the plot of it."""
    from zoo.apps._bench_cp import measure, plot
    from zoo.apps._bench_tp import check_device

    with _common.progress("path-shared products", quiet=quiet) as bar:
        rows = measure(5, lmax=lmax, device=check_device(device), progress=bar)
    file = folder / "tensor-products-growth.png"
    plot(file, rows, f"step of messages, {machine.get('gpu') or machine.get('cpu')}")
    return rows, file


def _show(
    rows: list[dict[str, Any]], machine: dict[str, Any], columns: Sequence[str], *, as_json: bool
) -> None:
    """The rows as a table, and the machine below it."""
    text = f"{_common.table(rows, columns)}\n{_about(machine)}"
    _common.emit([*rows, machine], text, as_json=as_json)


def _about(machine: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in machine.items() if key != "what")
