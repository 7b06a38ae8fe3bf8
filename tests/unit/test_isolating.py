"""One bad piece among good ones, found by halves."""

from collections.abc import Sequence

import pytest

from shared.errors import DependencyUnavailableError, StoreError
from shared.stream.isolating import Outcome, isolate


class Picky:
    """Takes all or nothing, and nothing with a bad number in it."""

    def __init__(self, *bad: int) -> None:
        self._bad = set(bad)
        self.calls = 0
        self.taken: list[int] = []

    async def apply(self, part: Sequence[int]) -> None:
        self.calls += 1
        if self._bad & set(part):
            raise StoreError(f"{sorted(self._bad & set(part))} are bad")
        self.taken += part


async def isolated(picky: Picky, count: int) -> Outcome[int, StoreError]:
    return await isolate(range(count), picky.apply, StoreError)


async def test_what_is_fine_goes_at_once() -> None:
    picky = Picky()
    outcome = await isolated(picky, 1_000)
    assert (outcome.done, outcome.refused, picky.calls) == (list(range(1_000)), [], 1)


async def test_nothing_takes_no_call() -> None:
    picky = Picky()
    assert await isolated(picky, 0) == Outcome()
    assert picky.calls == 0


@pytest.mark.parametrize("bad", [(0,), (999,), (3, 500, 501), tuple(range(40)), tuple(range(0, 1_000, 2))])
async def test_all_but_the_bad_ones_are_taken_once_each_refusal_with_its_own_reason(bad: tuple[int, ...]) -> None:
    picky = Picky(*bad)
    outcome = await isolated(picky, 1_000)
    assert sorted(picky.taken) == sorted(outcome.done) == sorted(set(range(1_000)) - set(bad))
    assert sorted(item for item, _ in outcome.refused) == list(bad)
    assert all(str(error) == f"[{item}] are bad" for item, error in outcome.refused)


async def test_one_bad_one_costs_a_search_and_not_a_walk() -> None:
    picky = Picky(700)
    await isolated(picky, 1_000)
    assert picky.calls <= 2 * 10 + 1


async def test_when_everything_is_refused_it_gives_up_early() -> None:
    picky = Picky(*range(1_000))
    outcome = await isolated(picky, 1_000)
    assert outcome.done == []
    assert len(outcome.refused) == 1_000
    assert picky.calls < 60


async def test_an_outage_is_no_refusal() -> None:
    async def away(part: Sequence[int]) -> None:
        raise DependencyUnavailableError("sql")

    with pytest.raises(DependencyUnavailableError):
        await isolate(range(10), away, StoreError)
