"""HTTP → the end of a session."""

import azure.functions as func

from shared.access import check_own
from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN
from shared.http import Call, empty_response, endpoint
from shared.problems import ForbiddenError

bp = func.Blueprint()


@bp.route(route="sessions/{userId}/{sessionId}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("DELETE", any_ids=True, answers={204: None}, problems=(ForbiddenError,))
async def end_session(call: Call) -> func.HttpResponse:
    """Answers 204 once the session is over, was there one or not."""
    user_id, session_id = call.path_text("userId"), call.path_text("sessionId")
    check_own(call, user_id)
    # What no session can have as its id is not there.
    if USER_ID_PATTERN.fullmatch(user_id) and ID_PATTERN.fullmatch(session_id):
        await call.services.ending.end(user_id, session_id)
    return empty_response()
