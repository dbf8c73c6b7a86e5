"""What programs on people's files have in common: wrong usage and unusable files are a sentence, a bug is told apart.

Their statuses 0 to 2 are answers, so Python's own 1 for a crash and argparse's 2 would read as one.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from shared.errors import Unusable
from shared.plain import shown

UNUSABLE, BUG = 3, 70


class Parser(argparse.ArgumentParser):
    """Raises Unusable for wrong usage."""

    def error(self, message: str) -> NoReturn:
        raise Unusable(f"{message}; {self.format_usage().strip()}")


def status_of(work: Callable[[], int]) -> int:
    """The work's own status; 3 and a sentence on standard error for Unusable, 70 and a traceback for anything else."""
    try:
        return work()
    except Unusable as error:
        print(f"ratchet: {shown(error)}", file=sys.stderr)
        return UNUSABLE
    except Exception:
        traceback.print_exc()
        return BUG
