"""Reading YAML strictly, and writing files so that a kill leaves the old one or the new one."""

import os
import re
import tempfile
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ConfigError, OutputError, ZooError

YAML_LIMIT = 1 << 20

_Base: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _Loader(_Base):  # type: ignore[misc]
    """A safe loader that refuses a key written twice, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word or number", key_node.start_mark
                )
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_TOP = re.compile(r"([A-Za-z_]\w*):(?:\s|$)")  # a key of the outermost mapping


def read_yaml(
    path: Path, *, error: type[ZooError] = ConfigError, only: Collection[str] | None = None
) -> dict[str, Any]:
    """Reads one YAML mapping.

    Aliases are refused: no file of ours uses them, and a few lines of nested ones expand to
    gigabytes.

    Args:
        path: the file, 1 MiB at most.
        error: the class to raise.
        only: keys of the outermost mapping to read; what stands under others is not looked at,
            which is most of the time that a long file takes. All of them if None.

    Returns:
        The mapping, made of plain Python values.

    Raises:
        ZooError: of the class `error`; names the file and, where known, the line.
    """
    try:
        if path.stat().st_size > YAML_LIMIT:
            raise error(f"{path} is larger than {YAML_LIMIT} bytes; this is no file of the zoo")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as problem:
        raise error(f"there is no file {path}") from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path} can't be read: {problem}") from problem
    part = text if only is None else _parts(text, only)
    return parse_yaml(part, where=str(path), error=error)


def _parts(text: str, only: Collection[str]) -> str:
    """The lines under some keys of the outermost mapping; all lines where it is no block."""
    kept, keep = [], True
    for line in text.splitlines(keepends=True):
        key = _TOP.match(line)
        if key is not None:
            keep = key[1] in only
        elif line[0] not in " -#\r\n":
            return text
        if keep:
            kept.append(line)
    return "".join(kept)


def parse_yaml(text: str, *, where: str, error: type[ZooError] = ConfigError) -> dict[str, Any]:
    """One YAML mapping from its text, as strictly as `read_yaml`.

    Args:
        text: the text.
        where: its file, for messages.
        error: the class to raise.

    Raises:
        ZooError: of the class `error`; names the file and, where known, the line.
    """
    try:
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text)):
            raise error(f"{where} uses YAML aliases (*name); write the values out")
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as problem:
        raise error(f"{where} is not valid YAML: {_place(problem)}") from problem
    if not isinstance(value, dict):
        raise error(f"{where} must hold a mapping (key: value), not {type(value).__name__}")
    return value


def _place(problem: Exception) -> str:
    mark = getattr(problem, "problem_mark", None)
    words = getattr(problem, "problem", None) or str(problem)
    return f"line {mark.line + 1}: {words}" if mark is not None else words


def refusal(folder: Path) -> tuple[Path, str] | None:
    """Where and why no file can be written into a folder, which may have to be made first.

    Nothing is left behind: the nearest folder that exists is tried with a file that vanishes.

    Returns:
        That folder and the system's word; None if files can be written.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as problem:
        return existing, problem.strerror or str(problem)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a file in full or not at all.

    The bytes go to a temporary file of the same folder, are flushed to the disk, and take the
    place of `path` in one step. The folder is made if it is missing.

    Raises:
        OutputError: if the folder or the file can't be written.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise OutputError(
            f"{path} can't be written ({problem.strerror or problem}); "
            "choose a folder that exists or can be made, is writable and has space"
        ) from problem
