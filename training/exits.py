"""How a training program ends: 0 done, 1 a bug (traceback), 2 bad input, 3 out of resources.

2 never succeeds by trying again; 3 may, on a bigger or emptier machine. The scheduler reads nothing but the status
and the last line of stderr.
"""

import errno
import sys
from collections.abc import Callable

from shared.errors import Unavailable, Unusable

DONE, BAD_INPUT, OUT_OF_RESOURCES = 0, 2, 3
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def exit_status(program: Callable[[], None]) -> int:
    """Runs the program; whatever is not foreseen here is a bug and goes on as its traceback."""
    try:
        program()
    except Unusable as error:
        return _say(BAD_INPUT, str(error))
    except Unavailable as error:
        return _say(OUT_OF_RESOURCES, str(error))
    except MemoryError:
        return _say(
            OUT_OF_RESOURCES, "Out of memory. Use a smaller pass_tokens, a shorter --max-length or a bigger machine."
        )
    except Exception as error:
        if not (reason := _scarcity(error)):
            raise
        return _say(OUT_OF_RESOURCES, reason)
    return DONE


def _scarcity(error: Exception) -> str | None:
    """What ran out, when something did. Named by text where the library has no type of its own for it."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return f"The disk is full: {error}. Free some space and start again with --resume."
    if "No space left on device" in text:  # safetensors wraps the errno in its own error
        return f"The disk is full: {text}. Free some space and start again with --resume."
    if type(error).__name__ == "OutOfMemoryError":
        return (
            f"The GPU is out of memory: {text.splitlines()[0]} Lower pass_tokens or --max-length, or use a bigger GPU."
        )
    return None


def _say(status: int, sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return status
