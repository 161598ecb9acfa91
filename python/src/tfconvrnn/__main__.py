"""``python -m tfconvrnn`` is the command tfconvrnn-cli."""

from __future__ import annotations

import os
import sys

from . import _program
from .errors import ProgramMissingError


def main() -> None:
    """Become the program."""
    try:
        program = _program.find()
    except ProgramMissingError as error:
        sys.exit(str(error))
    os.execve(program, [program, *sys.argv[1:]], _program.environment())


if __name__ == "__main__":
    main()
