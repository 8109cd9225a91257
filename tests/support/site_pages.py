"""Reads what a browser, or the builder of the site, made of a page."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Row:
    """A row of the table of models."""

    hidden: bool
    data: dict[str, str]
    href: str = ""
    cells: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.cells[0]


class Page(HTMLParser):
    """The parts of a page that the tests look at.

    Attributes:
        title: of the page, and `heading`, its first.
        rows: of the table of models, in their order.
        heads: its headings, with the attribute `aria-sort` of each.
        sources: what the page makes a browser load.
        count: what the table says of itself.
        formulas: how many there are.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.heads: list[tuple[str, str]] = []
        self.sources: list[str] = []
        self.title = self.heading = self.count = ""
        self.formulas = 0
        self._path: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()

    @property
    def shown(self) -> list[Row]:
        """The rows that can be seen."""
        return [row for row in self.rows if not row.hidden]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {key: value or "" for key, value in attrs}
        if tag not in ("meta", "link", "img", "input", "br", "hr", "wbr"):
            self._path.append((tag, known))
        if tag in ("script", "img", "iframe") and "src" in known:
            self.sources.append(known["src"])
        if tag == "link" and known.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.sources.append(known["href"])
        self.formulas += tag == "math"
        if self._inside("tbody") and self._models():
            if tag == "tr":
                data = {k.removeprefix("data-"): v for k, v in known.items() if k != "hidden"}
                self.rows.append(Row("hidden" in known, data))
            elif tag == "td":
                self.rows[-1].cells.append("")
            elif tag == "a":
                self.rows[-1].href = known["href"]
        if tag == "th" and self._models():
            self.heads.append(("", known.get("aria-sort", "")))

    def handle_endtag(self, tag: str) -> None:
        while self._path and self._path.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside("title") and not self._inside("svg"):
            self.title += data
        elif self._inside("h1"):
            self.heading += data
        elif any(known.get("class") == "zoo-count" for _, known in self._path):
            self.count += data
        elif self._inside("td") and self._models():
            self.rows[-1].cells[-1] += data
        elif self._inside("th") and self._models():
            self.heads[-1] = (self.heads[-1][0] + data, self.heads[-1][1])

    def _inside(self, tag: str) -> bool:
        return any(name == tag for name, _ in self._path)

    def _models(self) -> bool:
        return any(known.get("class") == "zoo-models" for _, known in self._path)
