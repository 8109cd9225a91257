"""What the pages list: read from YAML, the code and the command, never typed a second time.

A page says `<!-- zoo: models -->` or `<!-- zoo: api zoo.hub -->` where the text shall stand, and
`<!-- zoo: api zoo.layers.spd 3 -->` where headings of level 3 shall.
"""

import ast
import contextlib
import importlib
import inspect
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import _rows

from zoo import share
from zoo._files import read_yaml
from zoo.cli import _common

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"^<!-- zoo: (\w+)(?: ([\w.]+))?(?: (\d))? -->$", re.MULTILINE)


def fill(markdown: str) -> str:
    """A page with every place filled.

    Raises:
        KeyError: for a place that nothing fills.
    """
    return PLACE.sub(lambda found: FILLERS[found[1]](*filter(None, found.groups()[1:])), markdown)


def command(*words: str) -> str:
    """What `zoo WORDS` prints.

    Raises:
        ValueError: if it fails.
    """
    from zoo.cli.main import run

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        code = run(words)
    if code:
        raise ValueError(f"zoo {' '.join(words)}: exit code {code}")
    return stream.getvalue().strip()


def linked(table: str, folder: str, names: Iterable[str]) -> str:
    """A Markdown table whose first column leads to the pages of what it names."""
    for name in names:
        place = re.compile(rf"^\| `{re.escape(name)}` \|", re.MULTILINE)
        table = place.sub(f"| [`{name}`](../{folder}/{name}.md) |", table)
    return table


def models() -> str:
    """Architectures as `zoo list` prints them, each leading to its page."""
    from zoo._spec import shipped

    return linked(command("list", "--markdown"), "models", shipped())


def checkpoints() -> str:
    """Trained weights as `zoo list` prints them, each leading to its page."""
    from zoo.registry import list_models

    table = command("list", "--pretrained", "--markdown", "--no-fold")
    return linked(table, "weights", list_models(pretrained=True))


def table() -> str:
    """The table of the home page, which can be filtered."""
    return _rows.html()


def demoted(markdown: str, levels: int = 1) -> str:
    """The same text with its headings further down; what stands in code is left alone."""
    parts = re.split(r"(^```.*?^```$)", markdown.strip(), flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"^(#+ )", "#" * levels + r"\1", parts[i], flags=re.MULTILINE)
    return "".join(parts)


def datasets() -> str:
    """The shipped data sets with their cards."""
    rows, texts = [], []
    for path in sorted(share.folder("datasets").glob("*.yaml")):
        about = read_yaml(path)
        count = about.get("samples") or about.get("frames")
        row = {"name": path.stem, "samples": count, "licence": about.get("licence")}
        rows.append(row | {"level of theory": about.get("level_of_theory"), "what": about["title"]})
        if path.with_suffix(".md").is_file():
            texts.append(demoted(path.with_suffix(".md").read_text(encoding="utf-8")))
    columns = ("name", "what", "level of theory", "samples", "licence")
    return "\n\n".join([_common.markdown(rows, columns), *texts])


def recipes() -> str:
    """The shipped recipes."""
    folder, rows = share.folder("recipes"), []
    for path in sorted(folder.glob("*/*.yaml")):
        about = read_yaml(path)
        row = {"name": path.relative_to(folder).with_suffix("").as_posix(), "makes": about["name"]}
        row |= {key: about.get(key) for key in ("status", "description")}
        rows.append(row | {"tiers": list(about.get("tiers", {}))})
    return _common.markdown(rows, ("name", "makes", "description", "status", "tiers"))


def nbody() -> str:
    """Shipped weights on the N-body benchmark, their budgets, and what simple rules reach."""
    folder, rows = share.folder("recipes"), _nbody_baselines()
    for path in sorted(share.folder("checkpoints").glob("*.nbody.*.yaml")):
        about = read_yaml(path)
        training, recipe = about["training"], about["training"]["recipe"]
        source = read_yaml(folder / f"{recipe}.yaml")
        published = [
            r["published"]["mean"] for r in source.get("reproduce", ()) if "published" in r
        ]
        rmse = {m["split"]: m["value"] for m in about["metrics"] if m["name"] == "rmse"}
        rows.append(
            {
                "model": about["name"],
                "test MSE": rmse["test"] ** 2,
                "validation MSE": rmse["val"] ** 2,
                "steps of the recipe": _steps(source["trainer"], training["data"][0]["frames"]),
                "minutes": f"{60 * training['hours']:.1f}",
                "published MSE": f"{published[0]:.4f}" if published else "-",
                "recipe": f"`{recipe}`",
            }
        )
    rows.sort(key=lambda row: -float(row["test MSE"]))
    for row in rows:
        row |= {key: f"{row[key]:.4f}" for key in ("test MSE", "validation MSE")}
    columns = (
        "model",
        "test MSE",
        "validation MSE",
        "published MSE",
        "steps of the recipe",
        "minutes",
        "recipe",
    )
    return _common.markdown(rows, columns)


def _steps(trainer: dict[str, Any], samples: int) -> int:
    """Steps of a recipe's run."""
    steps = trainer.get("max_epochs", 1000) * -(-samples // trainer["batch_size"])
    return min(steps, trainer.get("max_steps") or steps)


def _nbody_baselines() -> list[dict[str, Any]]:
    """No motion, straight motion, and a linear map of position and velocity, fitted to train."""
    import numpy as np

    import zoo

    data = zoo.datasets.open("nbody")
    parts = {
        name: [
            np.concatenate([np.asarray(sample[key]) for sample in data.split(name)], dtype=float)
            for key in ("pos", "vel", "y")
        ]
        for name in ("train", "val", "test")
    }
    pos, vel, y = parts["train"]
    time = float((vel * (y - pos)).sum() / (vel * vel).sum())
    ones = np.ones((len(pos), 1))
    linear = np.linalg.lstsq(np.hstack([pos, vel, ones]), y, rcond=None)[0]
    rules = {
        "no motion": lambda x, v: x,
        f"straight on for {time:.2f}": lambda x, v: x + time * v,
        "linear map": lambda x, v: np.hstack([x, v, np.ones((len(x), 1))]) @ linear,
    }
    return [
        {
            "model": name,
            **{
                f"{label} MSE": float(((rule(*parts[split][:2]) - parts[split][2]) ** 2).mean())
                for label, split in (("test", "test"), ("validation", "val"))
            },
            **dict.fromkeys(("steps of the recipe", "minutes", "published MSE", "recipe"), "-"),
        }
        for name, rule in rules.items()
    ]


def domains() -> str:
    """What each domain's samples are and which files it reads, from the modules themselves."""
    from zoo.datasets.domains import DOMAINS, READERS

    parts = []
    for name in DOMAINS:
        text = inspect.getdoc(importlib.import_module(f"zoo.datasets.domains.{name}")) or ""
        head, _, body = text.removeprefix(f"Domain `{name}`: ").partition("\n")
        kinds = dict.fromkeys(
            f"`{suffix}`" + (" (folder)" if r.folder else "") + (" (pickle)" if r.pickle else "")
            for r in READERS
            if r.domain == name
            for suffix in r.suffixes
        )
        parts += [f"## {name}", f"{head[:1].upper()}{head[1:]}", body.strip()]
        parts.append(f"Files: {', '.join(kinds)}.")
    return "\n\n".join(parts)


def symmetries() -> str:
    """The symmetry groups outside atoms, and what is measured of each."""
    from zoo.testing import SAMPLE_GROUPS

    rows = [
        {"group": group, "acts": acts, "checks": [f"`{check}`" for check in checks] or "-"}
        for group, (acts, checks) in SAMPLE_GROUPS.items()
    ]
    return _common.markdown(rows, ("group", "acts", "checks"))


def verbs() -> str:
    """Every verb of the command with its arguments and options."""
    from typer.main import get_command

    from zoo.cli.main import app

    return "\n\n".join(_verb(name, entry, 2) for name, entry in _entries(get_command(app)))


def _entries(group: Any) -> list[tuple[str, Any]]:
    return list(getattr(group, "commands", {}).items())


def _verb(name: str, entry: Any, level: int, before: str = "zoo") -> str:
    title = f"{before} {name}"
    context = entry.context_class(entry, info_name=title)
    parts = [f"{'#' * level} {title}", inspect.cleandoc(entry.help or "")]
    below = _entries(entry)
    if not below:
        usage = " ".join(entry.collect_usage_pieces(context))
        parts.append(f"```text\n{title} {usage}\n```")
        rows = [record for p in entry.params if (record := p.get_help_record(context))]
        table = [
            {"option": names, "does": _plain(text)} for names, text in rows if names != "--help"
        ]
        parts.append(_common.markdown(table, ("option", "does")) if table else "")
    parts += [_verb(sub, child, level + 1, title) for sub, child in below]
    return "\n\n".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Help text whose stars and brackets are no markup; what stands in backticks is left alone."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [part.replace("*", r"\*").replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)


def api(module: str, level: str = "2") -> str:
    """Directives for mkdocstrings: what a package re-exports, or all that a module defines."""
    options = f"\n    options:\n      heading_level: {level}" if level != "2" else ""
    names = list(exported(module)) or [module]
    return "\n\n".join(f"::: {name}{options}" for name in names)


def exported(module: str) -> Iterator[str]:
    """Full names of what a package hands on, from its `__init__.py`; imports nothing.

    That is what its `__all__` names, or without one what it imports as `x as x`. What bears the
    name of its own module is named there: the package's attribute would be taken for the module.
    """
    place = ROOT.joinpath(*module.split("."), "__init__.py")
    if not place.is_file():
        return
    tree = ast.parse(place.read_text(encoding="utf-8"))
    stated: list[str] | None = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            stated = ast.literal_eval(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in (None, "zoo", "typing"):
            for name in node.names:
                here = name.asname or name.name
                if here in stated if stated is not None else name.name == name.asname:
                    same = node.module == f"{module}.{here}"
                    yield f"{node.module}.{here}" if same else f"{module}.{here}"


def architectures() -> str:
    """Directives for the classes of all architectures."""
    from zoo.registry import specs

    return "\n\n".join(f"::: {spec.class_path.replace(':', '.')}" for spec in specs().values())


def changelog() -> str:
    """CHANGELOG.md."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").strip()


def script(name: str) -> str:
    """A shipped script beside the recipes; it takes another machine to run it."""
    text = (share.folder("recipes") / name).read_text(encoding="utf-8").strip()
    return f"```bash\n{text}\n```"


FILLERS: dict[str, Callable[..., str]] = {
    "api": api,
    "architectures": architectures,
    "changelog": changelog,
    "checkpoints": checkpoints,
    "datasets": datasets,
    "domains": domains,
    "models": models,
    "nbody": nbody,
    "recipes": recipes,
    "script": script,
    "symmetries": symmetries,
    "table": table,
    "verbs": verbs,
}
