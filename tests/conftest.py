"""What tests of any part may ask for."""

from collections.abc import Iterator

import pytest
from undrawn import undrawn as not_drawing


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Runs write their plots as one pixel: for tests of what runs do; those of the plots draw."""
    with not_drawing():
        yield
