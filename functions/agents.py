"""HTTP → the agents who are online."""

import azure.functions as func

from shared.agents_page import read_page
from shared.answers import AgentsPage
from shared.auth import ADMIN_ROLE
from shared.http import Call, endpoint, json_response
from shared.requests import AgentsQuery

bp = func.Blueprint()


@bp.route(route="agents", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", role=ADMIN_ROLE, query=AgentsQuery, answers={200: AgentsPage})
async def agents(call: Call) -> func.HttpResponse:
    """Answers with one page of live agents, whichever instance heard them."""
    query, up = call.query(AgentsQuery), call.services
    return json_response(await read_page(up.agents, up.registry, up.directory, up.cursors, query))
