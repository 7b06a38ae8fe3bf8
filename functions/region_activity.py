"""HTTP → what happened at all facilities of a region together, by hour or day."""

import azure.functions as func

from shared.access import recorded_region
from shared.activity import region_item
from shared.answers import RegionBuckets
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError
from shared.requests import RegionActivityQuery

bp = func.Blueprint()


@bp.route(route="regions/{regionId}/activity", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", query=RegionActivityQuery, answers={200: RegionBuckets}, problems=(ForbiddenError,))
async def region_activity(call: Call) -> func.HttpResponse:
    """Answers with the region's buckets in which anything happened, oldest first, as far as SQL has them.

    The monitor writes them, at most 10,000 hours of facilities in a run: with more at work it takes several runs.
    """
    query = call.query(RegionActivityQuery)
    facility_ids = await recorded_region(call)
    buckets = await call.services.activity.region_buckets(facility_ids, query)
    return json_response({"items": [region_item(bucket) for bucket in buckets]})
