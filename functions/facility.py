"""HTTP → one facility."""

import azure.functions as func

from shared.access import visible_facility
from shared.answers import FacilityOfRegion
from shared.broadcast.snapshots import facility_item
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError

bp = func.Blueprint()


@bp.route(route="facilities/{facilityId}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", answers={200: FacilityOfRegion}, problems=(ForbiddenError,))
async def facility(call: Call) -> func.HttpResponse:
    """Answers with the facility as it is now."""
    entry = await visible_facility(call)
    await call.services.recovery.ensure()
    [state] = await call.services.registry.facility_states([entry.facility_id])
    return json_response({"regionId": entry.region_id, **facility_item(entry, state)})
