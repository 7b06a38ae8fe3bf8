"""Where calls of a store run: on a thread of their own, so that a database that hangs holds up nothing else."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from shared.errors import DependencyUnavailableError

PATIENCE = 10.0
"""Seconds that a caller of the API waits for one answer."""


class StoreThread:
    """The thread of one connection, begun at the first call.

    Not asyncio's default threads: they are few, and what compresses snapshots or resolves names for new connections
    would wait there behind calls that hang.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._pool: ThreadPoolExecutor | None = None
        self._busy_since: float | None = None

    async def run[*Ts, T](self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Returns what `work` returns, in the order of the calls, however long it takes.

        One whose caller is cancelled before its turn is not made.
        """
        return await asyncio.wrap_future(self._submit(work, *arguments))

    async def answer[*Ts, T](self, work: Callable[[*Ts], T], *arguments: *Ts, within: float | None = None) -> T:
        """Returns what `work` returns, to a caller who waits for at most `within` seconds (`patience` unless given).

        Raises DependencyUnavailableError("sql") after that, and at once while another call has been hanging for longer
        than `patience`: callers who have given up do not pile up.
        """
        if self._busy_since is not None and (hanging := time.monotonic() - self._busy_since) > self.patience:
            raise DependencyUnavailableError("sql", f"another call has been waiting for {hanging:.0f} s")
        limit = self.patience if within is None else within
        try:
            async with asyncio.timeout(limit):
                return await self.run(work, *arguments)
        except TimeoutError as error:
            raise DependencyUnavailableError("sql", f"no answer within {limit:g} s") from error

    def close(self) -> None:
        """Ends the thread once what it was asked is done; the next call begins another."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _submit[*Ts, T](self, work: Callable[[*Ts], T], *arguments: *Ts) -> Future[T]:
        # As asyncio.to_thread does: what is logged there belongs to the caller's request.
        context = copy_context()

        def timed() -> T:
            self._busy_since = time.monotonic()
            try:
                return context.run(work, *arguments)
            finally:
                self._busy_since = None

        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql")
        return self._pool.submit(timed)
