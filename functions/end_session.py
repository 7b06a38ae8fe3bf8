"""HTTP → the end of a session."""

import azure.functions as func

from shared.access import own_user_id
from shared.http import Call, empty_response, endpoint
from shared.problems import ForbiddenError

bp = func.Blueprint()


@bp.route(route="sessions/{userId}/{sessionId}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("DELETE", answers={204: None}, problems=(ForbiddenError,))
async def end_session(call: Call) -> func.HttpResponse:
    """Answers 204 once the session is over, was there one or not."""
    await call.services.ending.end(own_user_id(call), call.session_id())
    return empty_response()
