"""HTTP → the counties of a region."""

import azure.functions as func

from shared.access import visible_region
from shared.answers import RegionCounties
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError

bp = func.Blueprint()


@bp.route(route="regions/{regionId}/counties", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", answers={200: RegionCounties}, problems=(ForbiddenError,))
async def region_counties(call: Call) -> func.HttpResponse:
    """Answers with each county's name and how many facilities it has."""
    view, region_id = await visible_region(call)
    counties = [
        {"countyId": county.county_id, "name": county.name, "facilities": facilities}
        for county, facilities in view.counties_in(region_id)
    ]
    return json_response({"regionId": region_id, "counties": counties})
