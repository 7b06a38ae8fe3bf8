"""The templates, evaluated for each size, plan and network."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from functions import BLUEPRINTS
from tests.infra.azure_facts import RUNTIME_VALUES
from tests.infra.bicep.evaluate import Deployment, deploy, read_parameters

CHECKOUT = Path(__file__).resolve().parents[2]
INFRA = CHECKOUT / "infra"
ENVIRONMENT = {
    "AUTH_ISSUER": "https://login.microsoftonline.com/99999999-8888-4777-8666-555555555555/v2.0",
    "AUTH_AUDIENCE": "api://facility-pulse",
    "AUTH_CLIENT_ID": "22222222-3333-4444-8555-666666666666",
    "ALERT_EMAIL": "operators@example.com",
}
SIZES = ("dev", "production")
PLANS = ("premium", "flex")

type Deploy = Callable[..., Deployment]


@cache
def _deployed(size: str, changes: str) -> Deployment:
    template, values = read_parameters(INFRA / f"{size}.bicepparam", ENVIRONMENT)
    return deploy(template, values | json.loads(changes), RUNTIME_VALUES)


@pytest.fixture
def deployed() -> Deploy:
    """Evaluates a size with some parameters changed."""

    def deploy_size(file: str = "dev", /, **changes: Any) -> Deployment:
        return _deployed(file, json.dumps(changes))

    return deploy_size


@pytest.fixture(params=[(size, plan, vnet) for size in SIZES for plan in PLANS for vnet in (False, True)], ids=str)
def any_deployment(request: pytest.FixtureRequest) -> Deployment:
    """Each size on each plan, with and without the virtual network."""
    size, plan, vnet = request.param
    return _deployed(size, json.dumps({"hostingPlan": plan, "vnetEnabled": vnet}))


@cache
def _triggers() -> dict[str, dict[str, Any]]:
    app = func.FunctionApp()
    for blueprint in BLUEPRINTS:
        app.register_functions(blueprint)
    found = {function.get_function_name(): function.get_trigger() for function in app.get_functions()}
    return {name: dict(trigger.get_dict_repr()) for name, trigger in found.items() if name and trigger}


@pytest.fixture
def triggers() -> dict[str, dict[str, Any]]:
    """The trigger of every deployed function by the function's name, from the code."""
    return _triggers()


def app_settings(deployment: Deployment) -> dict[str, str]:
    """Returns the settings of the function app. Each name stands once."""
    pairs = deployment.only("Microsoft.Web/sites").properties["siteConfig"]["appSettings"]
    settings = {pair["name"]: pair["value"] for pair in pairs}
    assert len(settings) == len(pairs), "a setting stands twice"
    return settings
