"""HTTP → the snapshot of a region."""

import azure.functions as func

from shared.access import visible_region
from shared.answers import RegionSnapshot
from shared.http import Call, endpoint, prepared_response
from shared.problems import ForbiddenError

bp = func.Blueprint()


@bp.route(route="regions/{regionId}/facilities", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", answers={200: RegionSnapshot, 304: None}, problems=(ForbiddenError,))
async def region_facilities(call: Call) -> func.HttpResponse:
    """Answers with every facility of the region as of one sequence number; 304 if the caller has it already."""
    snapshot = await call.services.snapshots.get(*await visible_region(call))
    return prepared_response(call.request, snapshot.body, snapshot.compressed, snapshot.etag)
