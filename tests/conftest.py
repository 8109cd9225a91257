"""What tests of any part may ask for."""

import io
from typing import Any

import pytest

# one grey pixel
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000"
    "03a7e9b550000000a49444154789c63680000008200817"
    "7cd72b60000000049454e44ae426082"
)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs write their plots as one pixel: drawing takes three quarters of a tiny run's time.

    For tests of what runs do; those of the plots draw them.
    """
    from zoo.training import plots

    class Canvas:
        def __init__(self, figure: Any) -> None:
            self.figure = figure

        def print_png(self, stream: io.BytesIO) -> None:
            stream.write(PIXEL)

    monkeypatch.setattr(plots, "FigureCanvasAgg", Canvas)
