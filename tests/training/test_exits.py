import errno

import pytest

from shared.errors import Unavailable, Unusable
from training.exits import exit_status


class OutOfMemoryError(RuntimeError):
    """Named like torch's own."""


def raises(error: BaseException) -> int:
    def program() -> None:
        raise error

    return exit_status(program)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unusable("the snapshot is empty"), 2),
        (Unavailable("another process is training"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 3),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), 3),
        (MemoryError(), 3),
    ],
)
def test_what_went_wrong_decides_the_status(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raises(error) == status
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        raises(KeyError("x"))


def test_a_finished_program_ends_with_0() -> None:
    assert exit_status(lambda: None) == 0
