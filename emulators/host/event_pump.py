"""Receives from Event Hubs without the SDK's polling pauses.

azure-eventhub looks for received messages every 50 ms and reads the socket every 50 ms. Everything else of the SDK
(connections, links, credit, load balancing) is used as it is; only this loop is replaced.
"""

import asyncio
import logging
import time
from typing import Any

from azure.eventhub._pyamqp import error as amqp_errors
from azure.eventhub.aio._transport._pyamqp_transport_async import PyamqpTransportAsync

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0
# A read that waited for a frame takes longer than this.
_QUICK = 0.01


def prompt_transport(min_batch_size: int, max_wait_seconds: float) -> type[PyamqpTransportAsync]:
    """A transport for EventHubConsumerClient that hands events on as they arrive.

    Up to `max_wait_seconds` it waits for `min_batch_size` events of a partition.
    """

    class PromptTransport(PyamqpTransportAsync):
        @staticmethod
        async def message_received_async(consumer: Any, message: Any) -> None:
            consumer._message_buffer.append(message)
            consumer.arrived.set()

        @staticmethod
        async def receive_messages_async(
            consumer: Any,
            batch: bool,  # noqa: ARG004 (always true here)
            max_batch_size: int,
            max_wait_time: float | None,  # noqa: ARG004 (waiting is not reported)
        ) -> None:
            consumer.arrived, consumer.drained = asyncio.Event(), asyncio.Event()
            await _until_one_ends(
                asyncio.create_task(_read(consumer, max_batch_size)),
                asyncio.create_task(_hand_on(consumer, max_batch_size, min_batch_size, max_wait_seconds)),
            )

    return PromptTransport


async def _until_one_ends(*tasks: "asyncio.Task[None]") -> None:
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(consumer: Any, max_batch_size: int) -> None:
    # Follows PyamqpTransportAsync._receive_task, but goes on trying as .NET's processor does: the Python SDK gives a
    # partition up after three failures and comes back to it with the next round of balancing.
    pause = _FIRST_PAUSE
    while True:
        try:
            await consumer._open()
            waiting = len(consumer._message_buffer)
            if waiting > max_batch_size:
                consumer.drained.clear()
                await consumer.drained.wait()
                continue
            started = time.monotonic()
            if not await consumer._handler.do_work_async(batch=consumer._prefetch):
                return
            if time.monotonic() - started >= _QUICK or len(consumer._message_buffer) > waiting:
                pause = _FIRST_PAUSE
                continue
        except Exception as error:  # noqa: BLE001 (the SDK translates whatever a connection can raise)
            stolen = isinstance(error, amqp_errors.AMQPLinkError) and (
                error.condition == amqp_errors.ErrorCondition.LinkStolen
            )
            if consumer._last_received_event:
                consumer._offset = consumer._last_received_event.offset
            # What was not handed on yet comes again from that offset.
            consumer._message_buffer.clear()
            translated = await consumer._handle_exception(error)
            if stolen:
                raise translated from None
            if consumer.closed:
                return
            if pause == _FIRST_PAUSE:
                _LOG.warning("partition %s: %s; trying again", consumer._partition, str(translated).splitlines()[0])
        # While a connection is being made or is lost, the handler returns at once, again and again.
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 1.5)


async def _hand_on(consumer: Any, max_batch_size: int, min_batch_size: int, max_wait_seconds: float) -> None:
    buffer = consumer._message_buffer
    while True:
        while not buffer:
            consumer.arrived.clear()
            await consumer.arrived.wait()
        deadline = time.monotonic() + max_wait_seconds
        while len(buffer) < min_batch_size and (remaining := deadline - time.monotonic()) > 0:
            consumer.arrived.clear()
            try:
                await asyncio.wait_for(consumer.arrived.wait(), remaining)
            except TimeoutError:
                break
        events = [consumer._next_message_in_buffer() for _ in range(min(max_batch_size, len(buffer)))]
        consumer.drained.set()
        await consumer._on_event_received(events)
