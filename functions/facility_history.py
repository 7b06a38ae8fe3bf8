"""HTTP → what happened to a facility, and how much of the time it was online."""

import azure.functions as func

from shared.access import recorded_facility
from shared.answers import FacilityHistoryPage
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError
from shared.requests import HistoryQuery

bp = func.Blueprint()


@bp.route(route="facilities/{facilityId}/history", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", query=HistoryQuery, answers={200: FacilityHistoryPage}, problems=(ForbiddenError,))
async def facility_history(call: Call) -> func.HttpResponse:
    """Answers with one page of transitions, newest first, and the uptime of the whole range."""
    query = call.query(HistoryQuery)
    facility_id = await recorded_facility(call)
    page = await call.services.history.page(facility_id, query)
    return json_response(page.body())
