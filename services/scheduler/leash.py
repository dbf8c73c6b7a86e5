"""`python -m services.scheduler.leash PARENT_PID NICE PROGRAM ...`: becomes PROGRAM, which dies with its parent.

A killed scheduler must not leave a child that goes on writing as if it owned the job. The kernel ends the child (kept
over exec); where there is no such kernel, the next worker ends it by what the job table knows.
"""

import os
import signal
import sys

from shared.processes import die_with_parent


def main(arguments: list[str]) -> None:
    parent, nice, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    die_with_parent(parent, signal.SIGKILL)
    os.nice(nice)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        raise SystemExit(127) from None


if __name__ == "__main__":
    main(sys.argv[1:])
