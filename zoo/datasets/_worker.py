"""A process that computes trajectories: `python -m zoo.datasets._worker FOLDER`.

It reads the plan in the folder, then one job's name per line; it answers each new part with its
number of frames and each finished job with "done".
"""

import sys
from pathlib import Path

from zoo.datasets import _parts


def main() -> None:
    """Serves jobs until its input ends."""
    folder = Path(sys.argv[1])
    plan = _parts.load_plan(folder)
    for line in sys.stdin:
        for frames in _parts.compute(plan, folder, line.strip()):
            _answer(str(frames))
        _answer("done")


def _answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
