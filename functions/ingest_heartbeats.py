"""Event Hubs → sessions."""

from typing import List  # noqa: UP035 -- the worker refuses the built-in list as a binding type

import azure.functions as func

from shared.bootstrap import services
from shared.pipeline.ingest import StreamEvent

bp = func.Blueprint()


@bp.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EVENT_HUB_NAME%",
    connection="EventHubConnection",
    consumer_group="%EVENT_HUB_CONSUMER_GROUP%",
    cardinality="many",
)
# Without end: the partition pauses until its dependencies are back, and nothing is lost.
@bp.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:01")
async def ingest_heartbeats(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    """Applies one batch of one partition; fails as a whole only when a dependency is away."""
    # Every event points to the metadata of the whole batch.
    context = (events[0].metadata or {}).get("PartitionContext") or {}
    await services().ingest.apply(
        [StreamEvent(event.get_body(), event.sequence_number) for event in events], context.get("PartitionId")
    )
