"""The built site in a headless Chromium: `make test-docs` builds it and runs this.

The browser comes from the system ($CHROMIUM, or one of the usual names on the path). It reaches
nothing but a server on the loopback interface.
"""

import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from site_pages import Page

import zoo
from zoo._spec import shipped

SITE = Path(__file__).parents[2] / "site"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--dump-dom",
)
pytestmark = pytest.mark.browser
Browse = Callable[[str], Page]


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's path."""
    asked = os.environ.get("CHROMIUM")
    found = shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)
    if asked and not found:
        pytest.fail(f"CHROMIUM={asked} can't be run")
    if not found:
        pytest.skip(f"no Chromium on this machine: none of {', '.join(NAMES)}; or set CHROMIUM")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the built site."""
    if not (SITE / "index.html").is_file():
        pytest.fail("there is no site: make docs")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


@pytest.fixture(scope="module")
def browse(
    chromium: str, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browse]:
    """Loads a page of the site, given below its root, and reads what became of it."""
    profile = tmp_path_factory.mktemp("profile")

    def load(address: str) -> Page:
        command = [chromium, *OPTIONS, f"--user-data-dir={profile}", urljoin(server, address)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        assert "</html>" in done.stdout, done.stderr[-500:]
        return Page(done.stdout)

    yield load


@pytest.fixture(scope="module")
def home() -> Page:
    """The first page as it was built: what a browser without JavaScript has."""
    return Page((SITE / "index.html").read_text(encoding="utf-8"))


def test_without_javascript_the_table_is_whole(home: Page) -> None:
    names = [row.name for row in home.shown]
    assert sorted(names) == sorted([*shipped(), *zoo.list_models(pretrained=True)])
    assert home.count == ""


def test_every_name_leads_to_a_card(home: Page) -> None:
    for row in home.rows:
        page = Page((SITE / row.href / "index.html").read_text(encoding="utf-8"))
        assert page.heading.startswith((row.name, row.cells[1])), row.name


def test_nothing_comes_from_another_host(home: Page) -> None:
    for page in (home, Page((SITE / "models" / "nsd" / "index.html").read_text(encoding="utf-8"))):
        assert page.sources
        assert not [source for source in page.sources if re.match(r"(https?:)?//", source)]


def test_formulas_are_drawn() -> None:
    for name in shipped():
        text = (SITE / "models" / name / "index.html").read_text(encoding="utf-8")
        assert Page(text).formulas, name
        assert "data-math" not in text
        assert "zoo-figure" in text, name


def test_the_browser_shows_all_rows(browse: Browse, home: Page) -> None:
    page = browse("index.html")
    assert [row.name for row in page.shown] == [row.name for row in home.rows]
    assert page.count == f"{len(home.rows)} of {len(home.rows)} rows"


def test_the_address_filters(browse: Browse) -> None:
    page = browse("index.html#q=tensornet&kind=weights&domain=atoms&licence=Apache-2.0")
    names = [row.name for row in page.shown]
    assert names == zoo.list_models("tensornet*", pretrained=True, license="Apache-2.0")
    assert len(page.rows) > len(names)
    assert page.count == f"{len(names)} of {len(page.rows)} rows"


def test_the_address_sorts(browse: Browse) -> None:
    page = browse("index.html#domain=particles&kind=weights&sort=parameters&down=1")
    column = [head for head, _ in page.heads].index("parameters")
    assert page.heads[column][1] == "descending"
    numbers = [int(row.cells[column].replace(",", "")) for row in page.shown]
    assert len(numbers) > 3
    assert numbers == sorted(numbers, reverse=True)


def test_a_name_leads_to_its_card(browse: Browse, server: str) -> None:
    page = browse("index.html#q=nsd-bundle.csbm-10.r1")
    (row,) = page.shown
    card = browse(urljoin(server, row.href))
    assert card.heading.startswith(row.name)
    assert row.name in card.title
