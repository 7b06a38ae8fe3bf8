"""HTTP → the OpenAPI document of all the others."""

import functools
import gzip
import json
from collections.abc import Iterable

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger

from shared.answers import OpenApiDocument
from shared.entity_tags import entity_tag
from shared.http import OPERATION, Call, endpoint, prepared_response
from shared.openapi import describe

bp = func.Blueprint()
_described: list[func.Blueprint] = []


def document_these(blueprints: Iterable[func.Blueprint]) -> None:
    """Says whose functions the document describes; called once, when all are known."""
    _described[:] = blueprints


@bp.route(route="openapi.json", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("GET", anonymous=True, answers={200: OpenApiDocument, 304: None})
async def openapi(call: Call) -> func.HttpResponse:
    """Answers with this document, made of what the functions themselves declare."""
    body = _document()
    return prepared_response(call.request, body, gzip.compress(body, mtime=0), entity_tag(body))


@functools.cache
def _document() -> bytes:
    app = func.FunctionApp()
    for blueprint in _described:
        app.register_functions(blueprint)
    routed = []
    for each in app.get_functions():
        trigger, operation = each.get_trigger(), getattr(each.get_user_function(), OPERATION, None)
        if isinstance(trigger, HttpTrigger) and operation is not None:
            routed.append((str(trigger.route), operation))
    return json.dumps(describe(routed), ensure_ascii=False, separators=(",", ":")).encode()
