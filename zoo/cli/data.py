"""`zoo data`: looks after data sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli import _common, _data_generate

app = typer.Typer(help="Get, make, check, convert and split data sets.", no_args_is_help=True)
app.add_typer(_data_generate.app, name="generate")

Data = Annotated[str, typer.Argument(help="A file or folder, or a shipped data set.")]
Domain = Annotated[
    str | None, typer.Option(help="What a sample is (atoms, graph, ...) where files don't say.")
]
Splits = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|MAPPING",
        help="A file of zoo data split, or such as '{kind: time, fractions: {train: 0.8, ...}}'.",
    ),
]
TrustPickle = Annotated[
    bool,
    typer.Option("--trust-pickle/--no-trust-pickle", help="Read a pickle, which can run any code."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace an existing output.")
]


@app.command("list")
def listing(as_json: _common.Json = False) -> None:
    """The data sets that ship with the package, are computed, or are downloaded by `get`."""
    rows = [{"name": name, **_about(name)} for name in _shipped()]
    for row in rows:
        row["samples"] = row.get("samples") or row.get("frames")
        row["from"] = "get" if "download" in row else "computed" if "made" in row else "package"
    columns = ("name", "domain", "from", "samples", "level_of_theory", "title")
    _common.emit(rows, _common.table(rows, columns), as_json=as_json)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A shipped data set.")],
    as_json: _common.Json = False,
) -> None:
    """What is known about a shipped data set: source, licence, units, splits, how it was made."""
    from zoo.errors import UnknownNameError, nearest

    if name not in _shipped():
        raise UnknownNameError(f"no data set {name!r} ships: {nearest(name, _shipped())}")
    about = _about(name)
    _common.emit(about, _common.tree(about), as_json=as_json)


def _shipped() -> list[str]:
    from zoo import share

    return sorted(path.stem for path in share.folder("datasets").glob("*.yaml"))


def _about(name: str) -> dict[str, Any]:
    """A description as it is written; reads no data."""
    from zoo import share
    from zoo._files import read_yaml

    return {"domain": "atoms", **read_yaml(share.folder("datasets") / f"{name}.yaml")}


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A published data set (zoo data list).")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="Which part: molecule=aspirin."),
    ] = None,
    into: Annotated[Path | None, typer.Option(help="A folder; the cache unless given.")] = None,
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Fetch what is here anew: it came damaged.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """Download what a published data set needs, checked; what is here already is only checked."""
    from zoo import hub

    chosen = _common.settings(settings or [], "'NAME=VALUE'")
    with _common.progress(name, quiet=as_json) as report:
        found = hub.get_dataset(name, chosen, folder=into, again=again, progress=report)
    lines = [line for item in found for line in _got(item)]
    words = "&".join(f"{key}={value}" for key, value in chosen.items())
    root = f"root={into}" if into else ""
    query = "&".join(part for part in (words, root) if part)
    lines.append(f"open it as {name}{'?' if query else ''}{query}")
    _common.emit([item.to_dict() for item in found], "\n".join(lines), as_json=as_json)


def _got(item: Any) -> list[str]:
    """What is said of a file: without a published checksum, the one that was computed."""
    state = "downloaded" if item.fetched else "here already"
    told = {
        "": f"sha256 {item.sha256}, which its authors publish nowhere; it is remembered",
        "first seen": f"sha256 {item.sha256}, as when it was first seen",
        "by hand": "put there by hand, and not checked",
    }
    checked = told.get(item.verified, f"{item.verified} as its authors publish it")
    more = [f"  {item.unpacked} files unpacked"] if item.unpacked else []
    return [f"{item.file}: {state}, {item.bytes} bytes; {checked}", *more]


@app.command("check")
def check(
    data: Data,
    keys: _common.Keys = [],  # noqa: B006  # typer reads it and hands out copies
    units: _common.Units = [],  # noqa: B006
    splits: Splits = None,
    domain: Domain = None,
    trust_pickle: TrustPickle = False,
    limit: Annotated[int, typer.Option(min=1, help="Samples to read at most.")] = 100_000,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Warnings fail the check too.")
    ] = False,
    as_json: _common.Json = False,
) -> None:
    """What is in a data set, and what would spoil a training on it; exit code 3 for errors."""
    opened = _options(keys, units, splits, domain, trust_pickle)
    from zoo import datasets

    with _common.progress("checking", quiet=as_json) as report:
        found = datasets.check(data, limit=limit, progress=report, **opened)
    text = f"{_common.tree(found.summary)}\n\n{found}"
    _common.emit(found.to_dict(), text, as_json=as_json)
    if not found.ok or (strict and found.of("warning")):
        raise typer.Exit(_common.CHECK_FAILED)


@app.command("convert")
def convert(
    data: Data,
    output: Annotated[
        Path, typer.Argument(help=".npz, .extxyz, .xyz, .db, or a folder of LMDB shards.")
    ],
    keys: _common.Keys = [],  # noqa: B006
    units: _common.Units = [],  # noqa: B006
    splits: Splits = None,
    domain: Domain = None,
    trust_pickle: TrustPickle = False,
    shard_frames: Annotated[int, typer.Option(min=1, help="Frames of an LMDB file.")] = 100_000,
    max_bad: Annotated[
        int, typer.Option(min=0, help="Bad frames that may be left out; each is named.")
    ] = 0,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Write a data set in another format, in eV and Å, complete or not at all."""
    opened = _options(keys, units, splits, domain, trust_pickle)
    _common.check_output(output, folder=not output.suffix)
    from zoo import datasets

    with _common.progress("converting", quiet=as_json) as report:
        made = datasets.convert(
            data,
            output,
            shard_frames=shard_frames,
            max_bad=max_bad,
            overwrite=overwrite,
            progress=report,
            **opened,
        )
    lines = [f"left out frame {number}: {reason}" for number, reason in made.skipped.items()]
    lines += [f"note: {note}" for note in made.notes]
    lines.append(f"wrote {made.written} samples to {made.path}")
    _common.emit(made.to_dict(), "\n".join(lines), as_json=as_json)


@app.command("split")
def split(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .npz or .yaml file.")],
    kind: Annotated[
        str | None, typer.Option(help="random, group, time, assigned or index.")
    ] = None,
    fractions: Annotated[
        list[str], typer.Option("--fraction", metavar="SPLIT=SHARE", help="train=0.8, ...")
    ] = [],  # noqa: B006
    column: Annotated[
        str | None, typer.Option(help="Groups of kind group, values of kind assigned.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Column of the parts that are cut in time.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of kinds random and group.")] = None,
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="Others: 'values={train: [a]}', fold=0."),
    ] = [],  # noqa: B006
    keys: _common.Keys = [],  # noqa: B006
    units: _common.Units = [],  # noqa: B006
    domain: Domain = None,
    trust_pickle: TrustPickle = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look for what the splits share.")
    ] = True,
    overwrite: Overwrite = False,
    as_json: _common.Json = False,
) -> None:
    """Divide a data set and write the numbers of each split, for others to use."""
    spec = _spec(kind, fractions, column, by, seed, settings)
    output = _common.check_output(output)
    opened = _options(keys, units, None, domain, trust_pickle) | {"splits": spec}
    from zoo import datasets
    from zoo.errors import OutputError

    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; choose another name, or give --overwrite")
    dataset = datasets.open(data, **opened)
    use = datasets.write_splits(dataset, output, made=spec)
    made: dict[str, Any] = {
        "path": str(output),
        "splits": {name: len(part) for name, part in dataset.splits.items()},
        "split_hash": dataset.split_hash,
        "leakage": [],
    }
    if check:
        with _common.progress("checking", quiet=as_json) as report:
            found = datasets.check(dataset, progress=report)
        leaks = [f for f in found.findings if f.check == "leakage"]
        made["leakage"] = [f.to_dict() for f in leaks]
        made["text"] = [str(f) for f in leaks] or ["the splits share no sample"]
    _common.emit(made, _told(made, use, output), as_json=as_json)


def _told(made: dict[str, Any], use: dict[str, Any], output: Path) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in made["splits"].items())
    short = use if output.suffix == ".npz" else "the content of the file"
    lines = [f"{counts}; hash {made['split_hash'][:12]}", *made.pop("text", [])]
    return "\n".join([*lines, f"wrote {output}; use it as --splits {output} or splits={short}"])


def _spec(
    kind: str | None,
    fractions: list[str],
    column: str | None,
    by: str | None,
    seed: int | None,
    settings: list[str],
) -> dict[str, Any] | None:
    """The description of a split; None takes the data set's own."""
    spec: dict[str, Any] = {"kind": kind, "key": column, "by": by, "seed": seed}
    if fractions:
        shares = _common.settings(fractions, "'--fraction'")
        spec["fractions"] = shares
    spec |= _common.settings(settings, "'--set'")
    spec = {name: value for name, value in spec.items() if value is not None}
    if spec and kind is None:
        raise typer.BadParameter("say which kind of split", param_hint="'--kind'")
    return spec or None


def _options(
    keys: list[str],
    units: list[str],
    splits: str | None,
    domain: str | None,
    trust_pickle: bool,
) -> dict[str, Any]:
    """Arguments of `zoo.datasets.open`; those that weren't given are left out."""
    given = {
        "keys": _common.pairs(keys, "'--key'"),
        "units": _common.pairs(units, "'--unit'"),
        "splits": _splits(splits),
        "domain": domain,
        "trust_pickle": trust_pickle,
    }
    return {name: value for name, value in given.items() if value}


def _splits(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    path = Path(text).expanduser()
    if path.suffix == ".npz":
        return {"kind": "index", "file": str(path)}
    if path.suffix in (".yaml", ".yml"):
        from zoo._files import read_yaml

        return read_yaml(path)
    value = _common.settings([f"splits={text}"], "'--splits'")["splits"]
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is no file and no mapping", param_hint="'--splits'")
    return value
