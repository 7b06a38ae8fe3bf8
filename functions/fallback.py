"""HTTP → 404 in our form for every address that is nobody else's."""

import azure.functions as func

from shared.http import Call, endpoint
from shared.problems import NotFoundError

bp = func.Blueprint()


@bp.route(route="{*path}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint(None, anonymous=True)
async def fallback(call: Call) -> func.HttpResponse:
    """A catch-all route comes last: the host tries literal and named segments first."""
    path: str = call.request.route_params.get("path", "")
    raise NotFoundError(f"There is nothing at /{path[:200]}.")
