"""What tests of any part may ask for, which run, in which order, and where shapes are checked."""

from collections.abc import Iterator

import pytest
from shape_checks import skip_functions_without_shapes

skip_functions_without_shapes()  # before the package is imported

#: modules that take a minute or more: first, so that no process ends long after the other
LONGEST = (
    "tests/cli/test_shipped_samples.py",
    "tests/cli/test_verify.py",
    "tests/training/test_runner.py",
    "tests/apps/test_bench.py",
    "tests/apps/test_export.py",
    "tests/test_packaging.py",
    "tests/test_docs.py",
    "tests/test_readme.py",
)

#: markers of tests that run only where `-m` names them, whatever else it says: they need a browser
#: and a built site, a GPU, much time
ASKED_FOR = ("browser", "cuda", "export", "fuzz")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is not asked for; the longest modules first (an order that xdist keeps)."""
    wanted = str(config.getoption("markexpr"))
    absent = [marker for marker in ASKED_FOR if marker not in wanted]
    left_out = [item for item in items if any(map(item.get_closest_marker, absent))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not any(map(item.get_closest_marker, absent))]
    rank = {module: number for number, module in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0], len(LONGEST)))


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Runs write their plots as one pixel: for tests of what runs do; those of the plots draw."""
    from undrawn import undrawn as not_drawing

    with not_drawing():
        yield
