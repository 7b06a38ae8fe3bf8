"""Retry policies (`@app.retry`): the host repeats the invocation while the trigger waits."""

import asyncio
import logging
import random
from collections.abc import Callable

from emulators.host.worker import Datum, Function, Invocation, RetryOptions, Worker

_LOG = logging.getLogger(__name__)


def retry_delay(options: RetryOptions, attempt: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait before repetition `attempt` (from 0).

    Exponential back-off is the WebJobs SDK's: the minimum first, then doubling with ±20 % of randomness up to
    the maximum.
    """
    if options.retry_strategy == "fixed_delay":
        return options.delay_interval.total_seconds() if options.delay_interval else 0.0
    minimum = options.minimum_interval.total_seconds() if options.minimum_interval else 0.0
    maximum = options.maximum_interval.total_seconds() if options.maximum_interval else 2_147_483_647.0
    growth = (2.0 ** min(attempt, 62) - 1.0) * minimum * (0.8 + 0.4 * jitter())
    return min(maximum, minimum + growth)


async def invoke_with_retry(
    worker: Worker, function: Function, value: Datum, metadata: dict[str, Datum], stopping: asyncio.Event
) -> Invocation:
    """Invokes until success, until the policy is exhausted or until `stopping`; returns the last outcome."""
    options = function.retry
    if options is None:
        return await worker.invoke(function, value, metadata)
    attempt = 0
    while True:
        outcome = await worker.invoke(function, value, metadata, attempt, options.max_retry_count)
        if outcome.ok or stopping.is_set():
            return outcome
        if options.max_retry_count != -1 and attempt >= options.max_retry_count:
            return outcome
        delay = retry_delay(options, attempt)
        attempt += 1
        _LOG.warning("function %s failed; repetition %d follows in %.1f s", function.name, attempt, delay)
        try:
            await asyncio.wait_for(stopping.wait(), delay)
        except TimeoutError:
            continue
        return outcome
