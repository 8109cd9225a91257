"""Reading YAML written by people: bounded, without code, and with line numbers for the errors.

Two habits of YAML 1.1 surprise people who write recipes, so the loader follows YAML 1.2 there:
`1e-3` is a number (1.1 reads text), `10:00:00` is text (1.1 reads 36000), `no` is text.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import RecipeError

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000

Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """`SafeLoader` with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_FLOAT = r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
for _tag, _pattern, _first in (
    ("bool", r"true|True|false|False", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("float", rf"{_FLOAT}|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)", "-+.0123456789"),
    ("int", r"[-+]?\d[\d_]*", "-+0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        [c if c != "\0" else "" for c in _first],
    )


def read(path: Path) -> tuple[dict[str, Any], dict[Path_, int]]:
    """Reads a YAML mapping and the line of each of its keys.

    Args:
        path: the file.

    Returns:
        The mapping, and for every path of keys (list positions included) its line, from 1.

    Raises:
        RecipeError: no such file, too large, not YAML, not a mapping, or a key given twice.
    """
    text = _text(path)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Path_, int] = {}
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{path}: expected a mapping of keys to values, found none")
        _walk(node, (), lines, path)
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"{path}{line}: not valid YAML: {problem}") from error
    finally:
        loader.dispose()
    return data, lines


def parse(text: str, *, where: str) -> Any:
    """Reads a value as `read` does.

    Args:
        text: YAML.
        where: what to call it in errors.

    Raises:
        RecipeError: it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"{where}: not valid YAML: {problem}") from error


def _text(path: Path) -> str:
    """Reads at most `MAX_BYTES` of UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: can't be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{path}: larger than {MAX_BYTES // 1024} KiB; a recipe holds no data")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error.reason})") from error


def _walk(node: yaml.Node, at: Path_, lines: dict[Path_, int], path: Path) -> None:
    """Records line numbers, refusing repeated keys and aliases that blow the tree up."""
    if len(lines) > MAX_NODES:
        raise RecipeError(f"{path}: more than {MAX_NODES} entries; simplify its anchors")
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for position, child in enumerate(node.value):
            _walk(child, (*at, position), lines, path)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            here = (*at, str(key.value))
            if here in lines:
                raise RecipeError(
                    f"{path}:{key.start_mark.line + 1}: {dotted(here)}: given twice; "
                    f"the first is in line {lines[here]}"
                )
            lines[here] = key.start_mark.line + 1
            _walk(child, here, lines, path)


def dotted(path: Path_) -> str:
    """Writes a path of keys as `trainer.max_epochs` or `log.0`."""
    return ".".join(str(part) for part in path)
