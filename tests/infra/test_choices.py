"""The choices of docs/architecture.md: no secrets, least privilege, what each plan and size gets."""

import json
import re
from typing import Any

import pytest

from tests.infra.azure_facts import ROLES
from tests.infra.bicep.evaluate import Deployment, Resource
from tests.infra.bicep.functions import DEPLOYER_ID, SUBSCRIPTION
from tests.infra.bicep.syntax import parse
from tests.infra.conftest import INFRA, Deploy, app_settings

PRINCIPAL = "aaaaaaaa-0000-4000-8000-000000000002"
KEYS = re.compile(
    r"(?i)AccountKey=|SharedAccess(Key|Signature)=|AccessKey=|password=|pwd=|listKeys|listConnectionStrings"
)
DIAGNOSED = (
    "Microsoft.EventHub/namespaces",
    "Microsoft.Cache/redisEnterprise",
    "Microsoft.Cache/redisEnterprise/databases",
    "Microsoft.SignalRService/webPubSub",
    "Microsoft.Sql/servers/databases",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Web/sites",
)


def test_no_template_reads_or_holds_a_key() -> None:
    for file in (*INFRA.rglob("*.bicep"), *INFRA.rglob("*.bicepparam"), INFRA / "main.parameters.json"):
        assert not KEYS.search(file.read_text()), file


def test_nothing_that_is_deployed_holds_a_key(any_deployment: Deployment) -> None:
    for resource in any_deployment.resources:
        assert not KEYS.search(json.dumps(resource.body)), resource.id


def test_no_output_is_a_secret() -> None:
    for template in INFRA.rglob("*.bicep"):
        for output in parse(template).of_kind("output"):
            assert not re.search(r"(?i)secret|key|password|token|connection", output.name), (
                f"{template.name}: {output.name}"
            )


def test_keys_are_switched_off_everywhere(any_deployment: Deployment) -> None:
    def properties(kind: str) -> dict[str, Any]:
        return any_deployment.only(kind).properties

    assert properties("Microsoft.Storage/storageAccounts")["allowSharedKeyAccess"] is False
    assert properties("Microsoft.EventHub/namespaces")["disableLocalAuth"] is True
    assert properties("Microsoft.SignalRService/webPubSub")["disableLocalAuth"] is True
    assert properties("Microsoft.Cache/redisEnterprise/databases")["accessKeysAuthentication"] == "Disabled"
    assert properties("Microsoft.Insights/components")["DisableLocalAuth"] is True
    assert properties("Microsoft.Sql/servers")["administrators"]["azureADOnlyAuthentication"] is True
    assert "administratorLogin" not in properties("Microsoft.Sql/servers")
    policies = any_deployment.of_type("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {item.name: item.properties["allow"] for item in policies} == {"scm": False, "ftp": False}


def test_the_deployer_administers_the_databases_unless_somebody_else_is_named(deployed: Deploy) -> None:
    server = deployed().only("Microsoft.Sql/servers")
    assert server.properties["administrators"]["sid"] == DEPLOYER_ID
    other = "12345678-1234-4123-8123-123456789012"
    server = deployed(sqlAdministratorId=other, sqlAdministratorType="Group").only("Microsoft.Sql/servers")
    assert server.properties["administrators"] | {"tenantId": "", "login": ""} == {
        "administratorType": "ActiveDirectory",
        "azureADOnlyAuthentication": True,
        "sid": other,
        "principalType": "Group",
        "login": "",
        "tenantId": "",
    }


def test_each_role_that_is_needed_is_assigned_where_it_is_needed_and_no_other(any_deployment: Deployment) -> None:
    names = {identifier: name for name, identifier in ROLES.items()}
    assigned = set()
    for item in any_deployment.of_type("Microsoft.Authorization/roleAssignments"):
        assert item.properties["principalId"] == PRINCIPAL
        assert item.scope is not None
        assert item.properties["roleDefinitionId"].startswith(f"{SUBSCRIPTION}/providers/Microsoft.Authorization/")
        assigned.add((names[item.properties["roleDefinitionId"].rpartition("/")[2]], item.scope.type))
        assert item.file.name == "rbac.bicep"
    assert assigned == {
        ("Storage Blob Data Owner", "Microsoft.Storage/storageAccounts"),
        ("Storage Table Data Contributor", "Microsoft.Storage/storageAccounts"),
        ("Azure Event Hubs Data Receiver", "Microsoft.EventHub/namespaces/eventhubs"),
        ("Azure Event Hubs Data Sender", "Microsoft.EventHub/namespaces/eventhubs"),
        ("Web PubSub Service Owner", "Microsoft.SignalRService/webPubSub"),
        ("Monitoring Metrics Publisher", "Microsoft.Insights/components"),
    }
    access = any_deployment.only("Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments")
    assert access.properties["user"]["objectId"] == PRINCIPAL
    assert re.fullmatch(r"[A-Za-z0-9]{1,60}", access.name)
    assert access.name != "app", "a new identity needs an assignment of its own"


def test_roles_in_the_template_are_named_as_azure_names_them() -> None:
    text = (INFRA / "modules" / "rbac.bicep").read_text()
    assert dict(re.findall(r"'([A-Z][^']+)': '([0-9a-f-]{36})'", text)) == ROLES


def test_redis_keeps_every_session_and_tells_its_expiry(any_deployment: Deployment) -> None:
    properties = any_deployment.only("Microsoft.Cache/redisEnterprise/databases").properties
    assert properties["clusteringPolicy"] == "NoCluster"
    assert properties["evictionPolicy"] == "NoEviction"
    assert properties["notifyKeyspaceEvents"] == "Ex"
    assert properties["clientProtocol"] == "Encrypted"
    assert properties["port"] == 10000


def test_production_survives_the_loss_of_a_redis_node(deployed: Deploy) -> None:
    production = deployed("production")
    assert production.only("Microsoft.Cache/redisEnterprise").properties["highAvailability"] == "Enabled"
    assert production.only("Microsoft.Cache/redisEnterprise/databases").properties["persistence"]["aofEnabled"] is True
    assert production.only("Microsoft.Storage/storageAccounts").body["sku"]["name"] == "Standard_ZRS"


def test_event_hubs_inflates_and_captures_nothing(any_deployment: Deployment) -> None:
    namespace = any_deployment.only("Microsoft.EventHub/namespaces")
    assert namespace.body["sku"]["name"] == "Standard"
    assert namespace.properties["isAutoInflateEnabled"] is True
    assert namespace.properties["maximumThroughputUnits"] >= namespace.body["sku"]["capacity"]
    hub = any_deployment.only("Microsoft.EventHub/namespaces/eventhubs")
    assert "captureDescription" not in hub.properties


def test_no_instance_is_without_a_partition(any_deployment: Deployment) -> None:
    partitions = any_deployment.only("Microsoft.EventHub/namespaces/eventhubs").properties["partitionCount"]
    plan = any_deployment.only("Microsoft.Web/serverfarms")
    site = any_deployment.only("Microsoft.Web/sites").properties["siteConfig"]
    if plan.body["sku"]["tier"] == "ElasticPremium":
        assert site["functionAppScaleLimit"] <= partitions
        assert 1 <= site["minimumElasticInstanceCount"] <= site["functionAppScaleLimit"]


def test_two_databases_or_one_and_an_existing_core_database(deployed: Deploy) -> None:
    own = deployed()
    assert [item.name for item in own.of_type("Microsoft.Sql/servers/databases")] == ["monitor", "core"]
    assert own.outputs["SQL_CORE_CREATED"] is True
    existing = deployed(coreSqlServer="customer.database.windows.net", coreSqlDatabase="facilities")
    assert [item.name for item in existing.of_type("Microsoft.Sql/servers/databases")] == ["monitor"]
    assert "Server=tcp:customer.database.windows.net,1433;Database=facilities;" in app_settings(existing)["SqlCore"]
    assert existing.outputs["SQL_CORE_CREATED"] is False


def public(resource: Resource) -> bool:
    return bool(resource.properties["publicNetworkAccess"] == "Enabled")


def test_in_a_virtual_network_everything_the_app_talks_to_is_private(deployed: Deploy) -> None:
    deployment = deployed("production", vnetEnabled=True)
    targets = [
        deployment.only(kind)
        for kind in (
            "Microsoft.Storage/storageAccounts",
            "Microsoft.EventHub/namespaces",
            "Microsoft.Cache/redisEnterprise",
            "Microsoft.Sql/servers",
        )
    ]
    assert not any(public(item) for item in targets)
    assert not deployment.of_type("Microsoft.Sql/servers/firewallRules")
    # Browsers connect to Web PubSub from outside; the app's calls may not.
    web_pubsub = deployment.only("Microsoft.SignalRService/webPubSub")
    assert "RESTAPI" in web_pubsub.properties["networkACLs"]["publicNetwork"]["deny"]
    targets.append(web_pubsub)
    endpoints = deployment.of_type("Microsoft.Network/privateEndpoints")
    reached = {
        connection["properties"]["privateLinkServiceId"]
        for endpoint in endpoints
        for connection in endpoint.properties["privateLinkServiceConnections"]
    }
    assert reached == {item.id for item in targets}
    assert len(deployment.of_type("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")) == len(endpoints)
    assert len(deployment.of_type("Microsoft.Network/privateDnsZones/virtualNetworkLinks")) == len(endpoints)
    site = deployment.only("Microsoft.Web/sites")
    [network] = deployment.of_type("Microsoft.Network/virtualNetworks")
    assert site.properties["virtualNetworkSubnetId"] == f"{network.id}/subnets/snet-app"


@pytest.mark.parametrize(
    ("plan", "service"), [("premium", "Microsoft.Web/serverFarms"), ("flex", "Microsoft.App/environments")]
)
def test_the_apps_subnet_is_delegated_to_its_plan(deployed: Deploy, plan: str, service: str) -> None:
    network = deployed(hostingPlan=plan, vnetEnabled=True).only("Microsoft.Network/virtualNetworks")
    apps, endpoints = network.properties["subnets"]
    assert apps["properties"]["delegations"][0]["properties"]["serviceName"] == service
    assert apps["properties"]["addressPrefix"] != endpoints["properties"]["addressPrefix"]


def test_without_a_virtual_network_nothing_of_one_is_made(deployed: Deploy) -> None:
    deployment = deployed(vnetEnabled=False)
    assert not [item for item in deployment.resources if item.type.startswith("Microsoft.Network/")]
    assert deployment.only("Microsoft.Web/sites").properties["virtualNetworkSubnetId"] is None


def test_what_can_be_diagnosed_is(any_deployment: Deployment) -> None:
    [workspace] = any_deployment.of_type("Microsoft.OperationalInsights/workspaces")
    settings = any_deployment.of_type("Microsoft.Insights/diagnosticSettings")
    assert all(item.properties["workspaceId"] == workspace.id for item in settings)
    expected = {item.id for kind in DIAGNOSED for item in any_deployment.of_type(kind)}
    assert {item.scope.id for item in settings if item.scope} == expected


def test_no_diagnosis_costs_more_than_what_it_looks_at(any_deployment: Deployment) -> None:
    """A row for every message to a browser, or for every renewal of a lease, would be most of the bill."""
    for item in any_deployment.of_type("Microsoft.Insights/diagnosticSettings"):
        assert item.scope is not None
        logs = item.properties.get("logs", [])
        assert not {log.get("category") for log in logs} & {"MessagingLogs", "StorageWrite", "StorageRead"}
        if item.scope.type in {"Microsoft.SignalRService/webPubSub", "Microsoft.Storage/storageAccounts/blobServices"}:
            assert all("categoryGroup" not in log for log in logs), item.scope.type


def test_a_later_deployment_keeps_the_servers_administrator(deployed: Deploy) -> None:
    """azd puts the output into the environment, from where the parameter is read the next time."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given["sqlAdministratorId"] == {"value": "${SQL_ADMINISTRATOR_ID}"}
    assert deployed().outputs["SQL_ADMINISTRATOR_ID"] == DEPLOYER_ID


def test_alerts_reach_people_and_cover_what_they_must(any_deployment: Deployment) -> None:
    group = any_deployment.only("Microsoft.Insights/actionGroups")
    assert [item["emailAddress"] for item in group.properties["emailReceivers"]] in ([], ["operators@example.com"])
    rules = any_deployment.of_type("Microsoft.Insights/metricAlerts") + any_deployment.of_type(
        "Microsoft.Insights/scheduledQueryRules"
    )
    covered = set()
    for rule in rules:
        actions = rule.properties["actions"]
        reached = actions["actionGroups"] if isinstance(actions, dict) else [item["actionGroupId"] for item in actions]
        assert reached == [group.id], rule.name
        covered.add(rule.name.removeprefix("ar-").rpartition("-")[0])
    assert covered >= {"health", "stale", "detection-lag", "pipeline-lag", "set-aside"}
    site = any_deployment.only("Microsoft.Web/sites")
    for test in any_deployment.of_type("Microsoft.Insights/webtests"):
        address = test.properties["Request"]["RequestUrl"]
        assert address == f"https://{site.name}.azurewebsites.net/api/health"


def test_only_the_named_origins_may_call_the_api(deployed: Deploy) -> None:
    origins = ["https://front-end.example.com"]
    cors = deployed(corsOrigins=origins).only("Microsoft.Web/sites").properties["siteConfig"]["cors"]
    assert cors == {"allowedOrigins": origins, "supportCredentials": False}
    assert deployed().only("Microsoft.Web/sites").properties["siteConfig"]["cors"]["allowedOrigins"] == []
