"""HTTP → the address at which a browser gets its regions' changes."""

import azure.functions as func

from shared.access import regions_of_caller
from shared.answers import Negotiated
from shared.broadcast.messages import agents_group, region_group
from shared.domain.instants import to_iso
from shared.http import Call, endpoint, json_response
from shared.problems import ForbiddenError, NotFoundError
from shared.requests import NegotiateBody

bp = func.Blueprint()

_MINUTES = 60


@bp.route(route="negotiate", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint(
    "POST",
    body=NegotiateBody,
    body_optional=True,
    answers={200: Negotiated},
    problems=(ForbiddenError, NotFoundError),
)
async def negotiate(call: Call) -> func.HttpResponse:
    """Answers with a Web PubSub address whose token already joins the groups of the regions."""
    wanted = call.body(NegotiateBody).regions
    allowed = await regions_of_caller(call)
    regions = sorted(allowed if wanted is None else set(wanted))
    for region_id in regions:
        if region_id not in allowed:
            # An admin may see every region, so this one does not exist; others are not told whether it does.
            if call.caller.is_admin:
                raise NotFoundError(f"There is no region {region_id}.")
            raise ForbiddenError(f"The region {region_id} is not one of yours.")
    groups = [region_group(region_id) for region_id in regions]
    if call.caller.is_admin:
        groups += [agents_group(region_id) for region_id in regions]
    url, expires_at = await call.services.push.client_url(call.caller.user_id, groups, _MINUTES)
    return json_response({"url": url, "regions": regions, "expiresAt": to_iso(expires_at)})
