"""`python -m tools.train`: train without the command line of the whole car."""

import sys

from tools.terminal import problems
from tools.train.cli import app

if __name__ == "__main__":
    sys.exit(problems.guarded(app))
