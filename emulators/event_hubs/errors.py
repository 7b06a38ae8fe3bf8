"""The error conditions that this server raises, and the exceptions that carry them to the right frame."""

from .performatives import Error

DECODE_ERROR = "amqp:decode-error"
FRAMING_ERROR = "amqp:connection:framing-error"
FORCED = "amqp:connection:forced"
ILLEGAL_STATE = "amqp:illegal-state"
INTERNAL_ERROR = "amqp:internal-error"
INVALID_FIELD = "amqp:invalid-field"
NOT_ALLOWED = "amqp:not-allowed"
NOT_FOUND = "amqp:not-found"
NOT_IMPLEMENTED = "amqp:not-implemented"
RESOURCE_LIMIT = "amqp:resource-limit-exceeded"
UNAUTHORIZED = "amqp:unauthorized-access"
HANDLE_IN_USE = "amqp:session:handle-in-use"
UNATTACHED_HANDLE = "amqp:session:unattached-handle"
LINK_STOLEN = "amqp:link:stolen"
MESSAGE_TOO_LARGE = "amqp:link:message-size-exceeded"
# Event Hubs' own condition for a starting position that does not exist; azure-eventhub does not retry it.
ARGUMENT_ERROR = "com.microsoft:argument-error"


class AmqpError(Exception):
    """Something went wrong that the peer must be told with an error condition."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.error = Error(condition, description)


class AmqpConnectionError(AmqpError):
    """The connection must be closed."""


class AmqpSessionError(AmqpError):
    """The session must be ended."""


class AmqpLinkError(AmqpError):
    """The link must be refused or detached."""


class RejectedError(AmqpError):
    """The message must be refused; the link lives on."""
