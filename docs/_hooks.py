"""What MkDocs calls while it builds the site: notebooks become pages, places are filled.

Nothing is run here: a notebook shows the outputs that are stored in it (`make notebooks`).
"""

from typing import Any

import _notebooks
import _tables
from mkdocs.structure.files import File, Files


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


def on_files(files: Files, config: Any) -> Files:
    """Puts pages in the place of notebooks, and the notebooks beside them."""
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
    return files


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Fills the places of a page."""
    return _tables.fill(markdown)
