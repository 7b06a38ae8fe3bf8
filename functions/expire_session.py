"""Redis key expiry → the sweep of one facility, ahead of its turn."""

import json

import azure.functions as func

from shared.bootstrap import services
from shared.registry.keys import EXPIRED_CHANNEL

bp = func.Blueprint()


@bp.generic_trigger(arg_name="message", type="redisPubSubTrigger", connection="Redis", channel=EXPIRED_CHANNEL)
async def expire_session(message: str) -> None:
    """Takes the notification as a hint: it may come late, twice or never, and every instance gets it."""
    await services().sweep.run_for_key(json.loads(message)["Message"])
