"""HTTP → the regions that the caller may see."""

import asyncio

import azure.functions as func

from shared.access import regions_of_caller
from shared.answers import Regions
from shared.http import Call, endpoint, json_response

bp = func.Blueprint()


@bp.route(route="regions", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", answers={200: Regions})
async def regions(call: Call) -> func.HttpResponse:
    """Answers with each region's name, its facilities and how many of them are online."""
    view = await call.services.directory.view()
    visible = sorted(await regions_of_caller(call) & view.regions.keys())
    snapshots = await asyncio.gather(*(call.services.snapshots.get(view, region_id) for region_id in visible))
    return json_response(
        {
            "regions": [
                {
                    "regionId": region_id,
                    "name": view.regions[region_id].name,
                    "facilities": snapshot.facilities,
                    "online": snapshot.online,
                }
                for region_id, snapshot in zip(visible, snapshots, strict=True)
            ]
        }
    )
