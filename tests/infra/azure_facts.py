"""What is known about Azure here: resource properties, values that Azure fills in, roles, triggers of the bundle."""

from functools import cache
from pathlib import Path

RUNTIME_VALUES = {
    "Microsoft.ManagedIdentity/userAssignedIdentities": {
        "properties.clientId": "aaaaaaaa-0000-4000-8000-000000000001",
        "properties.principalId": "aaaaaaaa-0000-4000-8000-000000000002",
    },
    "Microsoft.Storage/storageAccounts": {
        "properties.primaryEndpoints.blob": "https://{name}.blob.core.windows.net/",
        "properties.primaryEndpoints.table": "https://{name}.table.core.windows.net/",
    },
    "Microsoft.EventHub/namespaces": {"properties.serviceBusEndpoint": "https://{name}.servicebus.windows.net:443/"},
    "Microsoft.Cache/redisEnterprise": {"properties.hostName": "{name}.westeurope.redis.azure.net"},
    "Microsoft.SignalRService/webPubSub": {"properties.hostName": "{name}.webpubsub.azure.com"},
    "Microsoft.Sql/servers": {"properties.fullyQualifiedDomainName": "{name}.database.windows.net"},
    "Microsoft.Web/sites": {"properties.defaultHostName": "{name}.azurewebsites.net"},
    "Microsoft.Insights/components": {
        "properties.ConnectionString": "InstrumentationKey=00000000-0000-0000-0000-000000000000;"
        "IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/"
    },
}

# learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Azure Event Hubs Data Receiver": "a638d3c7-ab3a-418d-83e6-5f17a39d4fde",
    "Azure Event Hubs Data Sender": "2b629674-e913-4c01-ae53-ef4638d8f975",
    "Web PubSub Service Owner": "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}

# The first version of Microsoft.Azure.Functions.ExtensionBundle that carries a trigger's extension.
FIRST_BUNDLE = {"eventHubTrigger": (4, 0, 0), "redisPubSubTrigger": (4, 17, 0)}
WITHOUT_EXTENSION = {"httpTrigger", "timerTrigger"}
# learn.microsoft.com/azure/azure-functions/functions-bindings-cache-trigger-redispubsub
NOT_ON_FLEX = {"redisPubSubTrigger"}
# Trigger types whose functions may have a retry policy; on others @app.retry does nothing.
RETRIED_BY_HOST = {"eventHubTrigger", "timerTrigger"}

# Settings that the Functions host, its builder and App Service read; the product does not.
HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__tableServiceUri",
}
PREMIUM_SETTINGS = {"FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_PROCESS_COUNT", "FUNCTIONS_WORKER_RUNTIME"}
# What Core Tools set for a remote build on Linux, so that publishing leaves the settings alone, and App Service's disk.
BUILD_SETTINGS = {
    "BUILD_FLAGS",
    "ENABLE_ORYX_BUILD",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITES_ENABLE_APP_SERVICE_STORAGE",
    "XDG_CACHE_HOME",
}
PACKAGE_SETTINGS = {"WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID"}

# learn.microsoft.com/azure/cloud-adoption-framework/ready/azure-best-practices/resource-abbreviations
ABBREVIATIONS = {
    "Microsoft.Resources/resourceGroups": "rg-",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "id-",
    "Microsoft.OperationalInsights/workspaces": "log-",
    "Microsoft.Insights/components": "appi-",
    "Microsoft.Insights/actionGroups": "ag-",
    "Microsoft.Storage/storageAccounts": "st",
    "Microsoft.EventHub/namespaces": "evhns-",
    "Microsoft.Cache/redisEnterprise": "amr-",
    "Microsoft.SignalRService/webPubSub": "wps-",
    "Microsoft.Sql/servers": "sql-",
    "Microsoft.Web/serverfarms": "asp-",
    "Microsoft.Web/sites": "func-",
    "Microsoft.Network/virtualNetworks": "vnet-",
    "Microsoft.Network/privateEndpoints": "pep-",
}


@cache
def resource_properties() -> dict[str, tuple[str, dict[str, str]]]:
    """Returns for every allowed type its API version and the kinds of its properties by path."""
    known: dict[str, tuple[str, dict[str, str]]] = {}
    properties: dict[str, str] = {}
    for line in Path(__file__).with_name("resource_properties.txt").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            name, _, version = line.partition("@")
            properties = {}
            known[name] = (version, properties)
        else:
            path, _, kind = line.strip().partition(": ")
            properties[path] = kind
    return known
