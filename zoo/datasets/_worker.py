"""A process that computes parts of a set: `python -m zoo.datasets._worker FOLDER`.

It reads the plan in the folder, then one job's name per line; it answers each new part with its
number of frames or molecules and each finished job with "done".
"""

import sys
from functools import partial
from pathlib import Path

from zoo.datasets import _parts
from zoo.datasets.organic import _shards


def main() -> None:
    """Serves jobs until its input ends."""
    folder = Path(sys.argv[1])
    shards = _shards.load_plan(folder)
    compute = (
        partial(_shards.compute, shards)
        if shards is not None
        else partial(_parts.compute, _parts.load_plan(folder))
    )
    for line in sys.stdin:
        for done in compute(folder, line.strip()):
            _answer(str(done))
        _answer("done")


def _answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
