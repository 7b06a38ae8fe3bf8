"""One bad piece among good ones: found by halves, so that the others proceed."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

HOPELESS = 16
"""So many refused one by one, and none taken: then it is not the pieces, and trying each of them helps nobody."""


@dataclass(slots=True)
class Outcome[T, E: Exception]:
    """What was taken, and what was refused with its reason."""

    done: list[T] = field(default_factory=list)
    refused: list[tuple[T, E]] = field(default_factory=list)


async def isolate[T, E: Exception](
    items: Sequence[T], apply: Callable[[Sequence[T]], Awaitable[object]], refusal: type[E]
) -> Outcome[T, E]:
    """Applies items together, or in smaller parts while `apply` raises `refusal`; other errors pass through.

    `apply` takes all or nothing, and items in any order. When everything seems to be refused, the rest counts as
    refused untried.
    """
    outcome: Outcome[T, E] = Outcome()

    async def attempt(part: Sequence[T]) -> None:
        try:
            await apply(part)
        except refusal as error:
            if len(part) == 1:
                outcome.refused.append((part[0], error))
                return
            # Shuffled once: neighbours often share what is wrong with them, and must not hide the good ones.
            shuffled = part if len(part) < len(items) else random.sample(part, len(part))
            middle = len(part) // 2
            for half in (shuffled[:middle], shuffled[middle:]):
                if not outcome.done and len(outcome.refused) >= HOPELESS:
                    outcome.refused.extend((item, error) for item in half)
                else:
                    await attempt(half)
        else:
            outcome.done.extend(part)

    if items:
        await attempt(items)
    return outcome
