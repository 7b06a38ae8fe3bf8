"""How the REST API reports errors: the `ErrorDetail` object and the `x-ms-error-code` header."""

from http import HTTPStatus
from typing import Self

from aiohttp import web


class ServiceError(Exception):
    """A call that is refused with a status and an error code."""

    def __init__(self, status: HTTPStatus, code: str, message: str, target: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target

    @classmethod
    def bad_request(cls, message: str, target: str | None = None) -> Self:
        """400, naming the parameter that is wrong."""
        return cls(HTTPStatus.BAD_REQUEST, "BadRequest", message, target)

    def response(self) -> web.Response:
        """The answer to the caller."""
        detail = {"code": self.code, "message": str(self)}
        if self.target is not None:
            detail["target"] = self.target
        headers = {"x-ms-error-code": self.code}
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return web.json_response(detail, status=self.status, headers=headers)
