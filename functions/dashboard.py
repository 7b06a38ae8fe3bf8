"""HTTP → the dashboard's files."""

from urllib.parse import urlsplit

import azure.functions as func

from shared.http import Call, endpoint, prepared_response
from shared.problems import NotFoundError
from shared.web_files import INDEX, security_headers, web_files

bp = func.Blueprint()


@bp.route(route="dashboard/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", anonymous=True)
async def dashboard(call: Call) -> func.HttpResponse:
    """Answers with a file of `web/`; the folder itself is its index page."""
    request, settings = call.request, call.services.settings
    path: str = request.route_params.get("path", "")
    if not path and not urlsplit(request.url).path.endswith("/"):
        # The page's addresses are relative to the folder.
        return func.HttpResponse(status_code=302, headers={"Location": "dashboard/"})
    file = web_files().get(path or INDEX)
    if file is None:
        raise NotFoundError(f"The dashboard has no file {path[:200]}.")
    headers = security_headers(settings.auth.issuer, settings.web_pubsub.address)
    return prepared_response(
        request, file.body, file.compressed, file.etag, mimetype=file.media_type, extra_headers=headers
    )
