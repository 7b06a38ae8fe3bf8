"""The Event Hubs trigger: batches of a partition one after another, a checkpoint after each, shared between hosts."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from emulators.host.checkpoint_store import SharedCheckpointStore
from emulators.host.errors import StartupError
from emulators.host.event_metadata import batch_of, single_of
from emulators.host.event_pump import prompt_transport
from emulators.host.host_config import EventHubOptions
from emulators.host.retry import invoke_with_retry
from emulators.host.settings import Settings
from emulators.host.storage import SharedStorage
from emulators.host.worker import Function, Worker

_LOG = logging.getLogger(__name__)
# .NET's processor looks every 30 s and expires an owner after 120 s; the ratio stays when the latter is shortened.
_LOOKS_PER_EXPIRY = 4
_EAGER_PAUSE = 0.2


def consumer_client(
    settings: Settings,
    function: Function,
    hub: str,
    group: str,
    options: EventHubOptions,
    store: SharedCheckpointStore,
) -> EventHubConsumerClient:
    """A client for the trigger's connection setting: a connection string, or `NAME__fullyQualifiedNamespace`.

    Raises StartupError naming the setting that is missing or malformed.
    """
    name, where = str(function.trigger.get("connection") or ""), f"function {function.name}"
    text, section = settings.get(name), settings.section(name)
    balancing: dict[str, Any] = {
        "checkpoint_store": store,
        "load_balancing_interval": _EAGER_PAUSE,
        "partition_ownership_expiration_interval": options.partition_ownership_seconds,
    }
    if text:
        try:
            return EventHubConsumerClient.from_connection_string(text, group, eventhub_name=hub, **balancing)
        except ValueError as error:
            raise StartupError(
                f"{where}: the setting {name} is not an Event Hubs connection string: {error}"
            ) from error
    namespace = section.get("fullyQualifiedNamespace")
    if not namespace:
        raise StartupError(
            f"{where}: the setting {name} (an Event Hubs connection string)"
            f" or {name}__fullyQualifiedNamespace is missing"
        )
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 (only the identity form needs it)

    credential = DefaultAzureCredential(managed_identity_client_id=section.get("clientId"))
    return EventHubConsumerClient(namespace, hub, group, credential, **balancing)


class EventHubListener:
    """Receives for one function from the partitions that this host owns."""

    def __init__(
        self, function: Function, worker: Worker, settings: Settings, storage: SharedStorage, options: EventHubOptions
    ) -> None:
        trigger = function.trigger
        self._function = function
        self._worker = worker
        self._options = options
        self._many = str(trigger.get("cardinality", "many")).lower() == "many"
        self._hub = str(trigger["eventHubName"])
        group = str(trigger.get("consumerGroup") or "$Default")
        store = SharedCheckpointStore(storage, self._set_pace)
        self._client = consumer_client(settings, function, self._hub, group, options, store)
        self._client._amqp_transport = prompt_transport(options.min_event_batch_size, options.max_wait_seconds)
        self._stopping = False
        self._batches: Counter[str] = Counter()
        self._halts: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to claim partitions and to receive."""
        options = self._options
        self._task = asyncio.create_task(
            self._client.receive_batch(
                self._on_batch,
                max_batch_size=options.max_event_batch_size,
                prefetch=options.prefetch_count,
                starting_position=options.starting_position,
                on_error=self._on_error,
            ),
            name=f"event hub {self._function.name}",
        )

    def stop_receiving(self) -> None:
        """Invokes nothing more; a retry policy gives up, its events come again elsewhere."""
        self._stopping = True
        for halt in self._halts:
            halt.set()

    async def stop(self) -> None:
        """Gives up all partitions."""
        self.stop_receiving()
        await self._client.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _set_pace(self, won: bool) -> None:
        # .NET's greedy balancing goes on without a pause while it wins partitions; the Python SDK always pauses.
        regular = self._options.partition_ownership_seconds / _LOOKS_PER_EXPIRY
        for processor in self._client._event_processors.values():
            processor._load_balancing_interval = min(_EAGER_PAUSE, regular) if won else regular

    async def _on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        if self._stopping or not events:
            return
        halt = asyncio.Event()
        self._halts.add(halt)
        work = asyncio.create_task(self._invoke(context, events, halt))
        work.add_done_callback(lambda _: self._halts.discard(halt))
        try:
            succeeded = await asyncio.shield(work)
        except asyncio.CancelledError:
            # The partition is another host's now, or time is up: what runs may end, but not repeat.
            halt.set()
            raise
        if halt.is_set() and not succeeded:
            return
        self._batches[context.partition_id] += 1
        if self._batches[context.partition_id] % self._options.batch_checkpoint_frequency == 0:
            await context.update_checkpoint(events[-1])

    async def _invoke(self, context: PartitionContext, events: Sequence[EventData], halt: asyncio.Event) -> bool:
        details = {
            "FullyQualifiedNamespace": context.fully_qualified_namespace,
            "EventHubName": context.eventhub_name,
            "ConsumerGroup": context.consumer_group,
            "PartitionId": context.partition_id,
        }
        calls = [batch_of(events, details)] if self._many else [single_of(event, details) for event in events]
        outcomes = await asyncio.gather(
            *(invoke_with_retry(self._worker, self._function, *call, halt) for call in calls)
        )
        return all(outcome.ok for outcome in outcomes)

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        where = f"partition {context.partition_id} of {self._hub}" if context else self._hub
        _LOG.warning("function %s: %s: %s", self._function.name, where, error)
