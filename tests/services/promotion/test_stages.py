import itertools

from services.promotion.stages import Stage, objection


def test_only_these_edges_exist() -> None:
    free = {(a, b) for a, b in itertools.product(Stage, Stage) if objection(a, b) is None}
    assert free == {
        (Stage.NEW, Stage.CANDIDATE),
        (Stage.NEW, Stage.CHAMPION),
        (Stage.CANDIDATE, Stage.EVALUATING),
        (Stage.CANDIDATE, Stage.INCONCLUSIVE),
        (Stage.EVALUATING, Stage.CHAMPION),
        (Stage.EVALUATING, Stage.REJECTED),
        (Stage.EVALUATING, Stage.INCONCLUSIVE),
        (Stage.CHAMPION, Stage.RETIRED),
        (Stage.RETIRED, Stage.CHAMPION),
    }


def test_an_override_opens_two_edges_and_no_more() -> None:
    opened = {
        (a, b) for a, b in itertools.product(Stage, Stage) if objection(a, b) and objection(a, b, override=True) is None
    }
    assert opened == {(Stage.REJECTED, Stage.CHAMPION), (Stage.INCONCLUSIVE, Stage.CHAMPION)}


def test_nothing_goes_back_to_being_a_candidate() -> None:
    assert all(objection(before, Stage.CANDIDATE, override=True) for before in Stage if before != Stage.NEW)
