"""Settings after the question mark of a name: `o5-hulls?train=1024&seed=1`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import yaml

from zoo.errors import ConfigError


def settings_of(query: str, example: str) -> dict[str, Any]:
    """`fmin=8&resample=128` as numbers and words.

    Args:
        query: what stands after the question mark.
        example: of a right one, for the message.

    Raises:
        ConfigError: for anything else.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        return {name: yaml.safe_load(value) for name, value in pairs}
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{query!r} is no list of settings such as {example!r}") from error


def spelled(name: str, settings: Mapping[str, Any]) -> str:
    """A name with its settings, as `settings_of` reads them."""
    return f"{name}?{urlencode(settings)}" if settings else name
