"""HTTP → whether everything answers."""

import azure.functions as func

from shared.answers import HealthReport
from shared.http import Call, endpoint, json_response

bp = func.Blueprint()


@bp.route(route="health", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", anonymous=True, answers={200: HealthReport, 503: HealthReport})
async def health(call: Call) -> func.HttpResponse:
    """Answers 200, or 503 when a check fails; a stalled pipeline alone leaves it 200."""
    health = await call.services.health.look()
    return json_response(health.body(), 200 if health.healthy else 503)
