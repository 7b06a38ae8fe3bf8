"""Who may read a partition at the same time on behalf of one consumer group.

Rules and wording follow the service: https://learn.microsoft.com/azure/event-hubs/event-hubs-event-processor-host and
the conditions that its clients report.
"""

from typing import Protocol

from .errors import LINK_STOLEN, RESOURCE_LIMIT, AmqpLinkError

MAX_RECEIVERS = 5


class Receiver(Protocol):
    """A consumer's link: its name, and its epoch (owner level) if it has one."""

    @property
    def name(self) -> str:
        """The link's name."""

    @property
    def epoch(self) -> int | None:
        """The epoch, or None for a receiver that shares the partition."""

    def disconnect(self, reason: AmqpLinkError) -> None:
        """Ends the link because it lost its place."""


class Receivers:
    """The receivers of one partition in one consumer group: one with an epoch, or up to five without."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def admit(self, receiver: Receiver) -> None:
        """Lets a receiver in, disconnecting those that it displaces; raises `AmqpLinkError` when it must stay out."""
        owner = next((other for other in self._receivers if other.epoch is not None), None)
        if receiver.epoch is None:
            self._admit_shared(owner)
        else:
            self._admit_exclusive(receiver, receiver.epoch, owner)
        self._receivers.append(receiver)

    def _admit_shared(self, owner: Receiver | None) -> None:
        if owner is not None:
            raise AmqpLinkError(
                LINK_STOLEN,
                f"At least one receiver for the endpoint is created with epoch of '{owner.epoch}', and so non-epoch "
                "receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are "
                "closed or disconnected.",
            )
        if len(self._receivers) >= MAX_RECEIVERS:
            raise AmqpLinkError(
                RESOURCE_LIMIT,
                f"Exceeded the maximum number of allowed receivers per partition in a consumer group which is "
                f"{MAX_RECEIVERS}. List of connected receivers - {', '.join(other.name for other in self._receivers)}.",
            )

    def _admit_exclusive(self, receiver: Receiver, epoch: int, owner: Receiver | None) -> None:
        if owner is not None and owner.epoch is not None and owner.epoch > epoch:
            raise AmqpLinkError(
                LINK_STOLEN,
                f"Receiver '{owner.name}' with a higher epoch '{owner.epoch}' already exists. Receiver "
                f"'{receiver.name}' with epoch {epoch} cannot be created. Make sure you are creating receiver with "
                "increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or "
                "disconnected.",
            )
        displaced, self._receivers = self._receivers, []
        for other in displaced:
            held = f"epoch '{other.epoch}'" if other.epoch is not None else "no epoch"
            other.disconnect(
                AmqpLinkError(
                    LINK_STOLEN,
                    f"New receiver '{receiver.name}' with higher epoch of '{epoch}' is created hence current receiver "
                    f"'{other.name}' with {held} is getting disconnected. If you are recreating the receiver, make "
                    "sure a higher epoch is used.",
                )
            )

    def remove(self, receiver: Receiver) -> None:
        """Forgets a receiver whose link has ended."""
        if receiver in self._receivers:
            self._receivers.remove(receiver)
