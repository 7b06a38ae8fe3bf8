"""The timer trigger: one host at a time, no invocation beside another, ticks missed meanwhile are skipped.

Source: the timer extension's TimerListener and ScheduleMonitor.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from emulators.host.retry import invoke_with_retry
from emulators.host.schedule import Schedule
from emulators.host.storage import SharedStorage
from emulators.host.worker import Datum, Function, Worker

_LOG = logging.getLogger(__name__)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """What the shared storage remembers of a timer; `last` is the year 1 before the first run."""

    last: datetime
    next: datetime
    last_updated: datetime

    def to_json(self) -> dict[str, str]:
        """The form in which the function and the storage see it."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.last_updated.isoformat(),
        }

    @classmethod
    def from_json(cls, text: str) -> "ScheduleStatus":
        """Reads what `to_json` wrote."""
        values = {name: datetime.fromisoformat(value) for name, value in json.loads(text).items()}
        return cls(values["Last"], values["Next"], values["LastUpdated"])


def check_past_due(
    schedule: Schedule, stored: ScheduleStatus | None, now: datetime
) -> tuple[ScheduleStatus, bool, bool]:
    """Returns the status to go on with, whether an occurrence was missed, and whether the status must be stored.

    A schedule that was changed since the status was written is never past due by that alone.
    """
    if stored is None:
        return ScheduleStatus(_NEVER, schedule.next_after(now), now), False, True
    expected = schedule.next_after(stored.last_updated)
    if stored.next != expected:
        status = ScheduleStatus(_NEVER, expected if expected > now else schedule.next_after(now), now)
        return status, False, True
    return stored, now > stored.next, False


class Timer:
    """Fires one function; it is started and stopped by the holder of its lease."""

    def __init__(
        self,
        function: Function,
        schedule: Schedule,
        worker: Worker,
        storage: SharedStorage,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._worker = worker
        self._storage = storage
        self._clock = clock
        self._run_on_startup = bool(function.trigger.get("runOnStartup"))
        self._monitored = bool(function.trigger.get("useMonitor", True)) and not schedule.is_frequent(clock())
        self._document = f"timers/{function.name}"
        self._status = ScheduleStatus(_NEVER, _NEVER, _NEVER)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads the status and starts to wait for the next occurrence."""
        self._stopping = asyncio.Event()
        now = self._clock()
        past_due = False
        if self._monitored:
            text = await self._storage.read_document(self._document)
            stored = ScheduleStatus.from_json(text) if text else None
            self._status, past_due, changed = check_past_due(self._schedule, stored, now)
            if changed:
                await self._store()
        else:
            self._status = ScheduleStatus(_NEVER, self._schedule.next_after(now), _NEVER)
        self._task = asyncio.create_task(self._run(past_due), name=f"timer {self._function.name}")

    async def stop(self) -> None:
        """Stops after the invocation that may be running."""
        self._stopping.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self, past_due: bool) -> None:
        if past_due or self._run_on_startup:
            await self._invoke(past_due=past_due, scheduled=False)
        while not self._stopping.is_set():
            delay = (self._status.next - self._clock()).total_seconds()
            if delay > 0:
                try:
                    await asyncio.wait_for(self._stopping.wait(), delay)
                except TimeoutError:
                    pass
                else:
                    return
            await self._invoke(past_due=False, scheduled=True)

    async def _invoke(self, *, past_due: bool, scheduled: bool) -> None:
        started = self._clock()
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": self._status.to_json() if self._monitored else None,
            "IsPastDue": past_due,
        }
        await invoke_with_retry(self._worker, self._function, Datum(json.dumps(info), "json"), {}, self._stopping)
        # A timer may wake a little early; counted from there the same occurrence would come twice.
        if scheduled and self._status.next > started:
            started = self._status.next
        self._status = replace(
            self._status, last=started, next=self._schedule.next_after(started), last_updated=started
        )
        if self._monitored:
            await self._store()

    async def _store(self) -> None:
        await self._storage.write_document(self._document, json.dumps(self._status.to_json()))
