"""HTTP → an agent's status."""

import azure.functions as func

from shared.access import own_user_id
from shared.answers import AgentStatusSet
from shared.domain.agent import Saying
from shared.domain.instants import to_iso
from shared.http import Call, endpoint, json_response
from shared.problems import AgentNotOnlineError, ForbiddenError
from shared.requests import AgentStatusBody

bp = func.Blueprint()


@bp.route(route="agents/{userId}/status", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint(
    "PUT",
    body=AgentStatusBody,
    answers={200: AgentStatusSet},
    problems=(ForbiddenError, AgentNotOnlineError),
)
async def agent_status(call: Call) -> func.HttpResponse:
    """Answers with the agent's status as it is now: the one given, unless a heartbeat has said another later."""
    wanted = call.body(AgentStatusBody).agent_status
    user_id, up = own_user_id(call), call.services
    agent = await up.agents.set_status(Saying(user_id, up.now(), wanted))
    if agent is None:
        raise AgentNotOnlineError(f"The agent {user_id} has no live session.")
    up.agent_announcer.wake()
    return json_response({"userId": user_id, "agentStatus": agent.status, "since": to_iso(agent.since)})
