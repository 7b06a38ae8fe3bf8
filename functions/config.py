"""HTTP → what a browser needs to sign in."""

import azure.functions as func

from shared.answers import SignIn
from shared.http import Call, endpoint, json_response

bp = func.Blueprint()


@bp.route(route="config", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", anonymous=True, answers={200: SignIn})
async def config(call: Call) -> func.HttpResponse:
    """Answers with the issuer, and the application that the browser is to it."""
    auth = call.services.settings.auth
    return json_response({"issuer": auth.issuer, "clientId": auth.client_id, "scope": auth.scope})
