"""Bicep's functions, as far as infra/ calls them. Those that Azure answers give made-up values of the same form."""

import hashlib
import ipaddress
import uuid
from collections.abc import Callable
from itertools import chain
from typing import Any

SUBSCRIPTION = "/subscriptions/11111111-2222-4333-8444-555555555555"
TENANT_ID = "99999999-8888-4777-8666-555555555555"
DEPLOYER_ID = "77777777-6666-4555-8444-333333333333"

SUFFIXES = {"storage": "core.windows.net", "sqlServerHostname": ".database.windows.net"}


def merged(*values: Any) -> Any:
    """Returns Bicep's `union`: objects merged deeply, the last value winning; arrays without repetitions."""
    if all(isinstance(value, list) for value in values):
        result: list[Any] = []
        for value in values:
            result.extend(item for item in value if item not in result)
        return result
    whole: dict[str, Any] = {}
    for value in values:
        for key, item in value.items():
            both_objects = isinstance(whole.get(key), dict) and isinstance(item, dict)
            whole[key] = merged(whole[key], item) if both_objects else item
    return whole


def unique_string(*seeds: str) -> str:
    """Returns 13 lower-case letters and digits that depend on the seeds."""
    return "a" + hashlib.sha256("|".join(seeds).encode()).hexdigest()[:12]


def subnet(prefix: str, new_length: int, index: int) -> str:
    """Returns the `index`-th subnet of that length. Raises IndexError when the range has no room for it."""
    return str(list(ipaddress.ip_network(prefix).subnets(new_prefix=new_length))[index])


class FailedError(Exception):
    """The template calls `fail` with this message."""


def fail(message: str) -> None:
    """Raises FailedError, as Azure refuses the deployment."""
    raise FailedError(message)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cidrSubnet": subnet,
    "concat": lambda *parts: list(chain(*parts)) if isinstance(parts[0], list) else "".join(parts),
    "deployer": lambda: {"objectId": DEPLOYER_ID, "tenantId": TENANT_ID},
    "empty": lambda value: value is None or len(value) == 0,
    "environment": lambda: {"suffixes": SUFFIXES},
    "fail": fail,
    "guid": lambda *seeds: str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(seeds))),
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
    "map": lambda items, change: [change(item) for item in items],
    "max": max,
    "min": min,
    "split": lambda text, by: text.split(by),
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
    "string": lambda value: "" if value is None else str(value),
    "subscription": lambda: {"id": SUBSCRIPTION},
    "subscriptionResourceId": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
    "tenant": lambda: {"tenantId": TENANT_ID},
    "toLower": lambda text: text.lower(),
    "union": merged,
    "uniqueString": unique_string,
}
