"""HTTP → the end of a session."""

import azure.functions as func

from shared.access import own_user_id
from shared.errors import DirectoryMissingError
from shared.http import Call, endpoint
from shared.registry.ended_ids import KEEP_MS

bp = func.Blueprint()


@bp.route(route="sessions/{userId}/{sessionId}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("DELETE")
async def end_session(call: Call) -> func.HttpResponse:
    """Answers 204 once the session is over at every facility, was there one or not, and nothing brings it back."""
    user_id, session_id, up = own_user_id(call), call.session_id(), call.services
    now = up.now()
    until = now + KEEP_MS
    result = await up.registry.end_session(user_id, session_id, await _facilities(call, user_id), now, until)
    up.ended_ids.add(user_id, session_id, until)
    if result.changes:
        up.broadcaster.wake()
    up.agent_follower.wake()
    return func.HttpResponse(status_code=204, headers={"Cache-Control": "no-store"})


async def _facilities(call: Call, user_id: str) -> set[str]:
    """Returns where the user's sessions may be: at their facilities, and at those that were theirs a moment ago."""
    agent = await call.services.agents.get(user_id)
    try:
        view = await call.services.directory.view()
        found = {*(await call.services.directory.facilities_of([user_id]))[user_id]}
    except DirectoryMissingError:
        return set()
    present = {view.facility_of_checksum(checksum) for checksum, _ in agent.presences} if agent else set()
    return found | {facility_id for facility_id in present if facility_id}
