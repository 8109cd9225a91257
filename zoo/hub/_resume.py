"""Which file the first bytes of a broken download belong to.

Where nobody publishes a digest, nothing would show that the rest came from another file. So what a
server says of the file that it begins to send, its strong ETag or else its date, is kept beside the
bytes; the rest is asked for on the condition that it still holds (If-Range, RFC 9110, 13.1.5), and
a server that sends it nevertheless under another tag is not believed.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from zoo._files import write_atomic
from zoo.errors import IntegrityError

#: headers that say which file it is, the surer one first
_HEADERS = ("ETag", "Last-Modified")


class Origin:
    """What is known of the file that a part was begun with.

    Args:
        path: where it is kept.
        url: the address that is asked now; what another address said is of no use.
    """

    def __init__(self, path: Path, url: str) -> None:
        self._path, self._url = path, url

    def condition(self) -> dict[str, str]:
        """Headers of a request for the rest; none where the server had said nothing."""
        told = self._told()
        return {"If-Range": next(iter(told.values()))} if told else {}

    def began(self, headers: Any) -> None:
        """Notes what a server says of the file of which it sends the first byte."""
        told = _told(headers)
        if not told:
            self.forget()
            return
        name, value = next(iter(told.items()))
        write_atomic(self._path, yaml.safe_dump({"url": self._url, name: value}))

    def goes_on(self, headers: Any) -> None:
        """Compares what a server says of the rest with what it said of the beginning.

        Raises:
            IntegrityError: if it is another file now.
        """
        now = _told(headers)
        for name, value in self._told().items():
            if name in now and now[name] != value:
                raise IntegrityError(
                    f"the file was changed since its first bytes came ({name} {value}, now "
                    f"{now[name]}); it begins anew"
                )

    def forget(self) -> None:
        """What came is of unknown origin, or complete."""
        self._path.unlink(missing_ok=True)

    def _told(self) -> Mapping[str, str]:
        with suppress(OSError, yaml.YAMLError):
            kept = yaml.safe_load(self._path.read_text(encoding="utf-8"))
            if isinstance(kept, dict) and kept.get("url") == self._url:
                return {name: str(kept[name]) for name in _HEADERS if name in kept}
        return {}


def _told(headers: Any) -> dict[str, str]:
    """What an answer says of its file; a weak ETag says nothing of its bytes."""
    found = {name: str(headers[name]) for name in _HEADERS if headers.get(name)}
    if found.get("ETag", "").startswith("W/"):
        del found["ETag"]
    return found
