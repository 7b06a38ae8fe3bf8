"""HTTP → what happened at a facility by minute, hour or day."""

import azure.functions as func

from shared.access import recorded_facility
from shared.activity import bucket_item
from shared.answers import FacilityBuckets
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError
from shared.requests import ActivityQuery

bp = func.Blueprint()


@bp.route(route="facilities/{facilityId}/activity", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", query=ActivityQuery, answers={200: FacilityBuckets}, problems=(ForbiddenError,))
async def facility_activity(call: Call) -> func.HttpResponse:
    """Answers with the buckets of the range in which anything happened, oldest first."""
    query = call.query(ActivityQuery)
    facility_id = await recorded_facility(call)
    buckets = await call.services.activity.buckets(facility_id, query)
    return json_response({"items": [bucket_item(bucket) for bucket in buckets]})
