"""What the deployed app reads, from the code, against what the templates set."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from shared.settings import Settings
from tests.infra.azure_facts import (
    BUILD_SETTINGS,
    FIRST_BUNDLE,
    HOST_SETTINGS,
    NOT_ON_FLEX,
    PACKAGE_SETTINGS,
    PREMIUM_SETTINGS,
    WITHOUT_EXTENSION,
)
from tests.infra.bicep.evaluate import Deployment
from tests.infra.conftest import CHECKOUT, Deploy, app_settings

type Triggers = Mapping[str, Mapping[str, Any]]
SECRET_URI = "https://vault.vault.azure.net/secrets/webhook"


class Recording(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def read_by_the_product(values: Mapping[str, str]) -> set[str]:
    environment = Recording(values)
    Settings.from_environment(environment)
    return environment.asked


def is_for_the_host(name: str) -> bool:
    return name in HOST_SETTINGS | PREMIUM_SETTINGS | BUILD_SETTINGS | PACKAGE_SETTINGS or bool(
        re.fullmatch(r"AzureWebJobs\.\w+\.Disabled", name)
    )


def test_the_app_starts_with_the_settings_that_the_templates_set(any_deployment: Deployment) -> None:
    settings = Settings.from_environment(app_settings(any_deployment))
    identity = any_deployment.outputs["SERVICE_API_IDENTITY_CLIENT_ID"]
    assert settings.event_hub.client_id == settings.web_pubsub.client_id == identity
    assert settings.redis.entra is not None
    assert settings.redis.entra.client_id == identity
    assert settings.redis.ssl
    assert settings.redis.hosts[0][1] == 10000
    namespace = any_deployment.only("Microsoft.EventHub/namespaces").name
    assert settings.event_hub.namespace == f"{namespace}.servicebus.windows.net"
    assert settings.event_hub.hub == any_deployment.only("Microsoft.EventHub/namespaces/eventhubs").name


def test_every_setting_is_read_by_the_product_or_by_the_host(any_deployment: Deployment) -> None:
    settings = app_settings(any_deployment)
    assert {name for name in settings if not is_for_the_host(name)} <= read_by_the_product(settings)


def test_the_host_signs_in_to_its_storage_and_to_application_insights_as_the_identity(
    any_deployment: Deployment,
) -> None:
    settings = app_settings(any_deployment)
    identity = any_deployment.outputs["SERVICE_API_IDENTITY_CLIENT_ID"]
    assert settings.keys() >= HOST_SETTINGS
    assert settings["AzureWebJobsStorage__clientId"] == identity
    assert settings["AzureWebJobsStorage__credential"] == "managedidentity"
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == f"ClientId={identity};Authorization=AAD"


def test_every_reference_of_a_binding_is_set(any_deployment: Deployment, triggers: Triggers) -> None:
    settings = app_settings(any_deployment)
    for name, trigger in triggers.items():
        for reference in re.findall(r"%(\w+)%", json.dumps(trigger, default=str)):
            assert reference in settings, f"{name} refers to {reference}"
        if connection := trigger.get("connection"):
            assert any(key.startswith(f"{connection}__") for key in settings), f"{name} needs {connection}"
            assert connection not in settings, "the host takes either a string or an identity"


def test_the_functions_that_a_plan_cannot_run_are_disabled_there_only(deployed: Deploy, triggers: Triggers) -> None:
    unable = {name for name, trigger in triggers.items() if trigger["type"] in NOT_ON_FLEX}
    assert unable, "the code has no such trigger any more"

    def disabled(plan: str) -> set[str]:
        values = app_settings(deployed(hostingPlan=plan))
        return {match[1] for key in values if (match := re.fullmatch(r"AzureWebJobs\.(\w+)\.Disabled", key))}

    assert disabled("flex") == unable
    assert disabled("premium") == set()


def test_flex_keeps_every_trigger_ready(deployed: Deploy, triggers: Triggers) -> None:
    deployment = deployed("production", hostingPlan="flex")
    config = deployment.only("Microsoft.Web/sites").properties["functionAppConfig"]
    ready = {item["name"]: item["instanceCount"] for item in config["scaleAndConcurrency"]["alwaysReady"]}
    others = {
        f"function:{name}"
        for name, trigger in triggers.items()
        if trigger["type"] != "httpTrigger" and trigger["type"] not in NOT_ON_FLEX
    }
    assert ready.keys() == {"http"} | others
    assert ready == dict.fromkeys(ready, 1) | {"http": 3, "function:ingest_heartbeats": 3}
    assert sum(ready.values()) <= config["scaleAndConcurrency"]["maximumInstanceCount"]
    most = deployed(hostingPlan="flex", alwaysReadyInstances=20).only("Microsoft.Web/sites").properties
    scale = most["functionAppConfig"]["scaleAndConcurrency"]
    assert sum(item["instanceCount"] for item in scale["alwaysReady"]) <= scale["maximumInstanceCount"]
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    account = deployment.only("Microsoft.Storage/storageAccounts").name
    [container] = deployment.of_type("Microsoft.Storage/storageAccounts/blobServices/containers")
    assert config["deployment"]["storage"]["value"] == f"https://{account}.blob.core.windows.net/{container.name}"
    assert not (PREMIUM_SETTINGS | BUILD_SETTINGS) & app_settings(deployment).keys(), "flex refuses these"


def test_premium_keeps_an_instance_ready_and_builds_where_func_expects_it(deployed: Deploy) -> None:
    deployment = deployed()
    config = deployment.only("Microsoft.Web/sites").properties["siteConfig"]
    assert config["minimumElasticInstanceCount"] >= 1
    assert config["linuxFxVersion"] == "Python|3.13"
    assert deployment.only("Microsoft.Web/sites").properties["functionAppConfig"] is None
    settings = app_settings(deployment)
    assert settings.keys() >= PREMIUM_SETTINGS | BUILD_SETTINGS
    assert not any(name.startswith("WEBSITE_CONTENT") for name in settings), "a content share needs a shared key"


@pytest.mark.parametrize(("sku", "processes"), [("EP1", "1"), ("EP2", "2"), ("EP3", "4")])
def test_python_has_a_process_for_every_core(deployed: Deploy, sku: str, processes: str) -> None:
    assert app_settings(deployed(premiumSku=sku))["FUNCTIONS_WORKER_PROCESS_COUNT"] == processes


def test_a_package_replaces_the_remote_build(deployed: Deploy) -> None:
    settings = app_settings(deployed(packageUri="https://st.blob.core.windows.net/app-package/1.zip"))
    assert settings.keys() >= PACKAGE_SETTINGS
    assert not BUILD_SETTINGS & settings.keys()


def test_the_webhooks_secret_stays_in_the_key_vault(deployed: Deploy) -> None:
    deployment = deployed(alertWebhookUrl="https://hooks.example.com", alertWebhookSecretUri=SECRET_URI)
    settings = app_settings(deployment)
    assert settings["ALERT_WEBHOOK_SECRET"] == f"@Microsoft.KeyVault(SecretUri={SECRET_URI})"
    identity = deployment.only("Microsoft.Web/sites").properties["keyVaultReferenceIdentity"]
    assert identity == deployment.only("Microsoft.ManagedIdentity/userAssignedIdentities").id
    assert not {"ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"} & app_settings(deployed()).keys()


def test_further_settings_are_handed_on(deployed: Deploy) -> None:
    settings = app_settings(deployed(sessionSettings={"SESSION_TTL_SECONDS": "60", "MASS_SILENCE_RATIO": "0.4"}))
    assert Settings.from_environment(settings).sessions.ttl_seconds == 60


def test_schedules_are_the_products_own(deployed: Deploy) -> None:
    settings = app_settings(deployed())
    without = {key: value for key, value in settings.items() if not key.endswith("_SCHEDULE")}
    defaults = Settings.from_environment(without)
    assert settings["SWEEP_SCHEDULE"] == defaults.sweep_schedule
    assert settings["MONITOR_SCHEDULE"] == defaults.monitor_schedule


@pytest.fixture
def host() -> dict[str, Any]:
    config = json.loads((CHECKOUT / "host.json").read_text())
    assert isinstance(config, dict)
    return config


def test_the_bundle_carries_every_trigger(host: dict[str, Any], triggers: Triggers) -> None:
    bundle = host["extensionBundle"]
    assert bundle["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    low, high = (version(part) for part in re.findall(r"[\d.*]+", bundle["version"]))
    assert high == (5, 0, 0)
    for trigger in triggers.values():
        kind = trigger["type"]
        # A range takes the newest: the first version that has the extension must be below its end.
        assert kind in WITHOUT_EXTENSION or low[0] <= FIRST_BUNDLE[kind][0] < high[0], kind


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{text}.0.0".replace("*", "0").split(".")[:3])


def test_host_settings_fit_the_triggers(host: dict[str, Any], triggers: Triggers) -> None:
    kinds = {trigger["type"] for trigger in triggers.values()}
    extensions = {"eventHubTrigger": "eventHubs", "httpTrigger": "http"}
    assert {extensions[kind] for kind in kinds if kind in extensions} == set(host["extensions"])
    assert host["extensions"]["http"]["routePrefix"] == "api"
    hubs = host["extensions"]["eventHubs"]
    assert 1 <= hubs["minEventBatchSize"] <= hubs["maxEventBatchSize"] <= hubs["prefetchCount"]
    # Each is a paid write of the storage account. Reading again changes nothing, but should not take long either.
    assert 10 <= hubs["batchCheckpointFrequency"] <= 100
    for name, trigger in triggers.items():
        if trigger["type"] == "eventHubTrigger":
            assert str(getattr(trigger["cardinality"], "value", trigger["cardinality"])).lower() == "many", name
        if trigger["type"] == "timerTrigger":
            assert trigger["runOnStartup"] is False, f"{name} would run on every instance at each start"
