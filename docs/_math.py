"""Formulas of the pages: LaTeX between dollar signs becomes MathML, which browsers draw themselves.

Markdown would take underscores and backslashes in formulas for its own, so that they pass through
it in hexadecimal, as an attribute of an empty element.
"""

import re

from latex2mathml.converter import convert

WIDTH = 100  # characters of LaTeX in a line
_FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+(?:\n[^$\n]+)?)\$", re.DOTALL)
_HIDDEN = re.compile(r'<span data-math-(block|inline)="([0-9a-f]+)"></span>')


def hide(markdown: str) -> str:
    """The text with each formula as an element that Markdown leaves alone."""

    def element(found: re.Match[str]) -> str:
        kind = str(found.lastgroup)
        latex = found[kind].strip()
        # what is set side by side gets lines of its own where it would not fit into the page
        parts = latex.split(r"\qquad") if len(latex) > WIDTH else [latex]
        return "\n".join(
            f'<span data-math-{kind}="{part.strip().encode().hex()}"></span>' for part in parts
        )

    return _FORMULA.sub(element, markdown)


def show(html: str) -> str:
    """The page with each hidden formula as MathML."""
    return _HIDDEN.sub(lambda found: mathml(bytes.fromhex(found[2]).decode(), found[1]), html)


def mathml(latex: str, display: str = "inline") -> str:
    """A formula as MathML.

    Raises:
        ValueError: if it has a command that is left as it stands, which nobody could read.
    """
    drawn = str(convert(latex, display=display))
    if "\\" in drawn or "merror" in drawn:
        raise ValueError(f"this formula isn't understood: {latex}")
    # the second bar of a norm with an exponent would be stretched by itself, and sink
    return drawn.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')
