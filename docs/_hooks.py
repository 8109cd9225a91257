"""What MkDocs calls while it builds the site: notebooks become pages, places are filled.

Pages on architectures and trained weights are made from the registry and the manifests. Nothing is
run here: a notebook shows the outputs that are stored in it (`make notebooks`), a certificate the
numbers that were measured when it was written.
"""

from typing import Any

import _math
import _notebooks
import _pages
import _tables
from mkdocs.structure.files import File, Files, InclusionLevel

from zoo._spec import shipped

MODELS = "Models"  # the place in the navigation


class NotebookFile(File):
    """A notebook that is a page of the site; links and the navigation name the .ipynb."""

    def is_documentation_page(self) -> bool:
        """It is one, unlike other files that are not Markdown."""
        return True

    @property
    def content_string(self) -> str:
        """The page's Markdown, with a link to the notebook itself."""
        notebook = _notebooks.read(_notebooks.TUTORIALS.parent / self.src_uri)
        note = f'<a class="notebook" href="../{self.name}.ipynb" download>Download as notebook</a>'
        return f"{_notebooks.to_markdown(notebook)}\n{note}\n"


def on_config(config: Any) -> Any:
    """Puts the page of every architecture into the navigation."""
    (models,) = [entry for entry in config.nav if MODELS in entry]
    models[MODELS] += [{spec.title: f"models/{spec.name}.md"} for spec in by_title()]
    return config


def by_title() -> list[Any]:
    """The architectures in the order in which people look for them."""
    return sorted(shipped().values(), key=lambda spec: spec.title.lower())


def on_files(files: Files, config: Any) -> Files:
    """Puts pages in the place of notebooks, the notebooks beside them, and adds what is made."""
    for file in [f for f in files if f.src_uri.endswith(".ipynb")]:
        files.remove(file)
        site, tidy = config.site_dir, config.use_directory_urls
        page = NotebookFile(file.src_uri, config.docs_dir, site, tidy)
        files.append(page)
        # under another source name, but with the notebook's own in the site
        copy = File(f"{file.src_uri}.json", None, site, tidy, dest_uri=file.src_uri)
        copy.abs_src_path = str(file.abs_src_path)
        copy.generated_by = "zoo"
        files.append(copy)
    for address, text in _pages.pages():
        listed = InclusionLevel.UNDEFINED if address.startswith("models/") else _UNLISTED
        files.append(File.generated(config, address, content=text, inclusion=listed))
    return files


#: weights are found by the table and by their architecture's page
_UNLISTED = InclusionLevel.NOT_IN_NAV


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Fills the places of a page."""
    return _tables.fill(markdown)


def on_page_content(html: str, **context: Any) -> str:
    """Draws the formulas of a page."""
    return _math.show(html)
