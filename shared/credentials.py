"""Azure credentials for the asynchronous SDK clients."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


def azure_credential(client_id: str | None) -> "AsyncTokenCredential":
    """Returns the user-assigned managed identity `client_id`, or without one whatever the environment offers.

    The caller closes it.
    """
    # Imported here: it takes a fifth of a second, and connection strings do not need it.
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415

    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
