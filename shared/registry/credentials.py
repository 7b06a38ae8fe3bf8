"""Microsoft Entra sign-in to Redis."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

    from shared.connections import EntraIdentity

_RESOURCE = "https://redis.azure.com/"


def entra_credentials(identity: "EntraIdentity") -> "CredentialProvider":
    """Returns a provider that fetches the managed identity's tokens and renews them on open connections in time."""
    # Imported here: it takes a fifth of a second, and connection strings do not need it.
    from redis_entraid.cred_provider import create_from_managed_identity  # noqa: PLC0415
    from redis_entraid.identity_provider import ManagedIdentityIdType, ManagedIdentityType  # noqa: PLC0415

    provider: CredentialProvider
    if identity.client_id is None:
        provider = create_from_managed_identity(ManagedIdentityType.SYSTEM_ASSIGNED, _RESOURCE)
    else:
        provider = create_from_managed_identity(
            ManagedIdentityType.USER_ASSIGNED, _RESOURCE, ManagedIdentityIdType.CLIENT_ID, identity.client_id
        )
    return provider
