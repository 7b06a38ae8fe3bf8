"""The data-plane REST API, version 2024-12-01: messages, groups, connections, users, permissions, tokens."""

import json
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Never

from aiohttp import web

from emulators.web_pubsub.connections import Connection
from emulators.web_pubsub.errors import ServiceError
from emulators.web_pubsub.filters import FilterError, Predicate, compile_filter
from emulators.web_pubsub.hub import Hub, Hubs
from emulators.web_pubsub.messages import DataType, Message
from emulators.web_pubsub.permissions import Permission
from emulators.web_pubsub.sockets import bearer
from emulators.web_pubsub.tokens import InvalidTokenError, Tokens

_HUB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
_CONTENT_TYPES = {
    "application/json": DataType.JSON,
    "text/plain": DataType.TEXT,
    "application/octet-stream": DataType.BINARY,
}
_MAX_GROUP_LENGTH = 1024
_MAX_PAGE = 200
_MAX_TTL_SECONDS = 300
_MAX_INT = 2**31 - 1


class RestApi:
    """The calls of `/api/hubs/{hub}`.

    A path names whom a call is about: a connection, a user's connections, a group's members or the whole hub.
    Sending, removing and closing are answered alike whether or not somebody is there; joining a connection to a group
    and granting it a permission need it (404).
    """

    def __init__(self, hubs: Hubs, tokens: Tokens) -> None:
        self._hubs = hubs
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        """Every call of the API."""
        hub = "/api/hubs/{hub}"
        connection, user, group = hub + "/connections/{connection}", hub + "/users/{user}", hub + "/groups/{group}"
        permission = hub + "/permissions/{permission}/connections/{connection}"
        return [
            *(web.post(f"{targets}/:send", self.send) for targets in (hub, group, user, connection)),
            *(web.post(f"{targets}/:closeConnections", self.close) for targets in (hub, group, user)),
            web.delete(connection, self.close),
            *(web.head(targets, self.exists) for targets in (connection, group, user)),
            web.put(group + "/connections/{connection}", self.join_connection),
            web.put(user + "/groups/{group}", self.join_user),
            web.delete(group + "/connections/{connection}", self.leave),
            web.delete(user + "/groups/{group}", self.leave),
            web.delete(f"{connection}/groups", self.leave_all),
            web.delete(f"{user}/groups", self.leave_all),
            web.post(f"{hub}/:addToGroups", self.add_to_groups),
            web.post(f"{hub}/:removeFromGroups", self.remove_from_groups),
            web.get(f"{group}/connections", self.members, allow_head=False),
            web.head(permission, self.has_permission),
            web.put(permission, self.grant_permission),
            web.delete(permission, self.revoke_permission),
            web.post(f"{hub}/:generateToken", self.generate_token),
        ]

    def authorize(self, request: web.Request) -> None:
        """Checks what every call has in common: the bearer token, the api-version and the names in the path."""
        try:
            self._tokens.verify_request(bearer(request), f"http://{request.host}{request.raw_path}")
        except InvalidTokenError as error:
            raise ServiceError(HTTPStatus.UNAUTHORIZED, "Unauthorized", str(error)) from error
        if not request.query.get("api-version"):
            raise ServiceError.bad_request("The query parameter 'api-version' is required.", "api-version")
        if not _HUB_NAME.fullmatch(request.match_info.get("hub", "")):
            raise ServiceError.bad_request(f"The hub's name does not match {_HUB_NAME.pattern}.", "hub")
        group = request.match_info.get("group")
        if group is not None and (not group.strip() or len(group) > _MAX_GROUP_LENGTH):
            raise ServiceError.bad_request(f"A group's name has 1 to {_MAX_GROUP_LENGTH} characters.", "group")

    async def send(self, request: web.Request) -> web.Response:
        """Sends the body to the targets, without those excluded or not matching the filter."""
        message, predicate = await _message(request), _compiled(request.query.get("filter"))
        # Looked up after the body is read, so that whoever joins meanwhile is included.
        self._hub(request).send(self._targets(request), message, excluded=_excluded(request), predicate=predicate)
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def close(self, request: web.Request) -> web.Response:
        """Closes the targets' connections."""
        hub, excluded = self._hub(request), _excluded(request)
        for connection in tuple(self._targets(request)):
            if connection.id not in excluded:
                hub.close(connection, request.query.get("reason", ""))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def exists(self, request: web.Request) -> web.Response:
        """200 when there is at least one such connection, otherwise 404."""
        return _found(bool(self._targets(request)))

    async def join_connection(self, request: web.Request) -> web.Response:
        """Joins a connection to a group."""
        self._hub(request).join(self._connection(request), request.match_info["group"])
        return web.Response()

    async def join_user(self, request: web.Request) -> web.Response:
        """Joins the connections that the user has now to a group."""
        for connection in self._targets(request):
            self._hub(request).join(connection, request.match_info["group"])
        return web.Response()

    async def leave(self, request: web.Request) -> web.Response:
        """Takes the targets out of a group."""
        for connection in tuple(self._targets(request)):
            self._hub(request).leave(connection, request.match_info["group"])
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def leave_all(self, request: web.Request) -> web.Response:
        """Takes the targets out of all their groups."""
        for connection in tuple(self._targets(request)):
            self._hub(request).leave_all(connection)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def add_to_groups(self, request: web.Request) -> web.Response:
        """Joins the connections that match a filter to several groups."""
        groups, predicate = await _groups_and_filter(request)
        for connection in filter(predicate, self._targets(request)):
            for group in groups:
                self._hub(request).join(connection, group)
        return web.Response()

    async def remove_from_groups(self, request: web.Request) -> web.Response:
        """Takes the connections that match a filter out of several groups."""
        groups, predicate = await _groups_and_filter(request)
        for connection in filter(predicate, self._targets(request)):
            for group in groups:
                self._hub(request).leave(connection, group)
        return web.Response()

    async def members(self, request: web.Request) -> web.Response:
        """A page of a group's members by connection id; `nextLink` leads to the rest."""
        page_size = _whole_number(request, "maxpagesize", default=_MAX_PAGE, minimum=1, maximum=_MAX_PAGE)
        top = _whole_number(request, "top", default=_MAX_INT, minimum=1)
        after = request.query.get("continuationToken", "")
        members = sorted(self._targets(request), key=lambda member: member.id)
        remaining = [member for member in members if member.id > after][:top]
        page = remaining[:page_size]
        answer: dict[str, object] = {"value": [_member(member) for member in page]}
        if len(remaining) > len(page):
            answer["nextLink"] = str(
                request.url.update_query(continuationToken=page[-1].id, maxpagesize=page_size, top=top - len(page))
            )
        return web.json_response(answer)

    async def has_permission(self, request: web.Request) -> web.Response:
        """200 when the connection has the permission, otherwise 404."""
        permission, group = _permission(request)
        return _found(any(each.permissions.allows(permission, group) for each in self._targets(request)))

    async def grant_permission(self, request: web.Request) -> web.Response:
        """Grants a permission to a connection, for one group or for all."""
        permission, group = _permission(request)
        self._connection(request).permissions.grant(permission, group)
        return web.Response()

    async def revoke_permission(self, request: web.Request) -> web.Response:
        """Takes a granted permission back."""
        permission, group = _permission(request)
        for connection in self._targets(request):
            connection.permissions.revoke(permission, group)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def generate_token(self, request: web.Request) -> web.Response:
        """A client access token, for callers that have no access key to sign one with."""
        query = request.query
        if query.get("clientType", "Default").lower() != "default":
            raise ServiceError.bad_request("Only the client type 'Default' is emulated.", "clientType")
        token = self._tokens.issue_client(
            f"http://{request.host}/client/hubs/{request.match_info['hub']}",
            user_id=query.get("userId"),
            roles=query.getall("role", []),
            groups=query.getall("group", []),
            minutes=_whole_number(request, "minutesToExpire", default=60, minimum=1),
        )
        return web.json_response({"token": token})

    def _hub(self, request: web.Request) -> Hub:
        return self._hubs[request.match_info["hub"]]

    def _targets(self, request: web.Request) -> Collection[Connection]:
        """Whom the path names: where it names a group too, that is what they join or leave."""
        hub, names = self._hub(request), request.match_info
        if "connection" in names:
            connection = hub.connection(names["connection"])
            return () if connection is None else (connection,)
        if "user" in names:
            return hub.user(names["user"])
        return hub.group(names["group"]) if "group" in names else hub.connections

    def _connection(self, request: web.Request) -> Connection:
        for connection in self._targets(request):
            return connection
        raise ServiceError(HTTPStatus.NOT_FOUND, "NotFound", "The connection does not exist.", "connectionId")


async def _message(request: web.Request) -> Message:
    data_type = _CONTENT_TYPES.get(request.content_type)
    if data_type is None:
        raise ServiceError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            f"The content type {request.content_type!r} is not one of {', '.join(_CONTENT_TYPES)}.",
        )
    _whole_number(request, "messageTtlSeconds", default=0, minimum=0, maximum=_MAX_TTL_SECONDS)
    body = await request.read()
    try:
        if data_type is DataType.JSON:
            json.loads(body.decode(), parse_constant=_refuse_constant)
        elif data_type is DataType.TEXT:
            body.decode()
    except ValueError as error:
        raise ServiceError.bad_request(f"The body is not {request.content_type}: {error}.", "message") from error
    return Message(data_type, body, group=request.match_info.get("group"))


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


async def _groups_and_filter(request: web.Request) -> tuple[list[str], Predicate | None]:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise ServiceError.bad_request(f"The body is not JSON: {error}.") from error
    groups = body.get("groups") if isinstance(body, dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, str) and group.strip() for group in groups):
        raise ServiceError.bad_request("'groups' must be a list of group names.", "groups")
    return groups, _compiled(body.get("filter"))


def _compiled(text: str | None) -> Predicate | None:
    if not text:
        return None
    try:
        return compile_filter(text)
    except FilterError as error:
        raise ServiceError.bad_request(f"{error} (Parameter 'filter')", "filter") from error


def _excluded(request: web.Request) -> frozenset[str]:
    return frozenset(request.query.getall("excluded", []))


def _permission(request: web.Request) -> tuple[Permission, str | None]:
    name = request.match_info["permission"]
    try:
        return Permission(name), request.query.get("targetName")
    except ValueError as error:
        known = ", ".join(Permission)
        raise ServiceError.bad_request(f"The permission {name!r} is not one of {known}.", "permission") from error


def _whole_number(request: web.Request, name: str, *, default: int, minimum: int, maximum: int = _MAX_INT) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise ServiceError.bad_request(f"{name!r} must be a whole number from {minimum} to {maximum}.", name)
    return int(text)


def _member(connection: Connection) -> dict[str, str]:
    user = {} if connection.user_id is None else {"userId": connection.user_id}
    return {"connectionId": connection.id, **user}


def _found(found: bool) -> web.Response:
    return web.Response(status=HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
