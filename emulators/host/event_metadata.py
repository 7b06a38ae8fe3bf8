"""Event Hubs events as the trigger hands them to the worker: bodies and binding data.

Source: EventHubTriggerBindingStrategy of the Event Hubs extension, and the host's conversion of collections.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageBodyType

from emulators.host.worker import Datum

# These have fields of their own.
_NAMED_ANNOTATIONS = {"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"}


def body_of(event: EventData) -> bytes:
    """The event's body, its data sections joined; a value body as text."""
    if event.body_type is AmqpMessageBodyType.DATA:
        return b"".join(cast("Iterable[bytes]", event.body))
    return str(event.body).encode()


def batch_of(events: Sequence[EventData], context: Mapping[str, str]) -> tuple[Datum, dict[str, Datum]]:
    """The value and the trigger metadata of one invocation with many events."""
    system = [_system_properties(event) for event in events]
    value = Datum(SimpleNamespace(bytes=[body_of(event) for event in events]), "collection_bytes")
    return value, {
        **_contexts(context),
        "PartitionKeyArray": _texts([item["PartitionKey"] for item in system]),
        "OffsetArray": _texts([str(item["Offset"]) for item in system]),
        "OffsetStringArray": _texts([item["OffsetString"] for item in system]),
        "SequenceNumberArray": Datum(
            SimpleNamespace(sint64=[item["SequenceNumber"] for item in system]), "collection_sint64"
        ),
        "EnqueuedTimeUtcArray": _json([item["EnqueuedTimeUtc"] for item in system]),
        "PropertiesArray": _json([_properties(event) for event in events]),
        "SystemPropertiesArray": _json(system),
    }


def single_of(event: EventData, context: Mapping[str, str]) -> tuple[Datum, dict[str, Datum]]:
    """The value and the trigger metadata of one invocation with one event."""
    system = _system_properties(event)
    metadata = {
        **_contexts(context),
        "Offset": Datum(str(system["Offset"]), "string"),
        "OffsetString": Datum(system["OffsetString"], "string"),
        "SequenceNumber": Datum(str(system["SequenceNumber"]), "json"),
        "EnqueuedTimeUtc": Datum(system["EnqueuedTimeUtc"], "string"),
        "Properties": _json(_properties(event)),
        "SystemProperties": _json(system),
    }
    if system["PartitionKey"] is not None:
        metadata["PartitionKey"] = Datum(system["PartitionKey"], "string")
    return Datum(body_of(event), "bytes"), metadata


def _contexts(context: Mapping[str, str]) -> dict[str, Datum]:
    datum = _json(dict(context))
    return {"PartitionContext": datum, "TriggerPartitionContext": datum}


def _system_properties(event: EventData) -> dict[str, Any]:
    offset = event.offset
    others = {
        _plain(name): _plain(value)
        for name, value in (event.raw_amqp_message.annotations or {}).items()
        if _plain(name) not in _NAMED_ANNOTATIONS
    }
    enqueued = event.enqueued_time
    key = event.partition_key
    return {
        **others,
        "SequenceNumber": event.sequence_number,
        "Offset": int(offset) if offset and offset.isdecimal() else -1,
        "OffsetString": offset,
        "PartitionKey": None if key is None else _plain(key),
        "EnqueuedTimeUtc": enqueued and enqueued.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def _properties(event: EventData) -> dict[str, Any]:
    return {_plain(name): _plain(value) for name, value in (event.properties or {}).items()}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case None | str() | int() | float() | bool():
            return value
        case _:
            return str(value)


def _texts(values: Sequence[str | None]) -> Datum:
    # The worker protocol has no null in a collection of strings; the host sends empty ones.
    return Datum(SimpleNamespace(string=[value or "" for value in values]), "collection_string")


def _json(value: Any) -> Datum:
    return Datum(json.dumps(value, separators=(",", ":")), "json")
