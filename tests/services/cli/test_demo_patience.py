import pytest

from services.cli.demo import turn
from services.cli.demo.turn import Patience
from shared.errors import Unavailable


def test_a_job_that_stands_still_is_given_up_and_one_that_moves_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(turn.time, "monotonic", lambda: now[0])
    patience = Patience(10, "the training")
    for step in range(5):
        now[0] += 9
        patience.look({"step": step})
    now[0] += 9
    patience.look({"step": 4})
    now[0] += 2
    with pytest.raises(Unavailable, match="the training has shown no progress for 10 s"):
        patience.look({"step": 4})
