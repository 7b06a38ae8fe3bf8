"""azure.yaml, compose.yaml, local settings and workflows: they fit the templates, the code and each other."""

import json
import os
import re
import subprocess
from typing import Any

import pytest
import yaml

from shared.settings import Settings
from tests.infra.bicep.syntax import parse
from tests.infra.conftest import CHECKOUT, INFRA, Deploy
from tests.infra.test_app_settings import read_by_the_product

HOOKS = INFRA / "hooks"


def read(name: str) -> Any:
    return yaml.safe_load((CHECKOUT / name).read_text())


@pytest.fixture
def local_settings() -> dict[str, str]:
    values = json.loads((CHECKOUT / "local.settings.example.json").read_text())["Values"]
    assert isinstance(values, dict)
    return values


def test_azd_finds_the_template_and_the_app(deployed: Deploy) -> None:
    project = read("azure.yaml")
    assert (CHECKOUT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").is_file()
    deployment = deployed()
    [(name, service)] = project["services"].items()
    assert deployment.only("Microsoft.Web/sites").body["tags"]["azd-service-name"] == name
    assert (service["host"], service["language"], service["project"]) == ("function", "python", ".")
    group = deployment.only("Microsoft.Resources/resourceGroups")
    assert group.body["tags"]["azd-env-name"] == "facility-pulse-dev"
    assert deployment.outputs["AZURE_RESOURCE_GROUP"] == group.name


def test_azd_is_new_enough_and_the_page_says_so() -> None:
    required = re.fullmatch(r">= (\d+\.\d+)\.0", read("azure.yaml")["requiredVersions"]["azd"])
    assert required
    assert f"(`azd`) {required[1]} or newer" in (CHECKOUT / "docs" / "deploy.md").read_text()


def test_every_hook_is_there_for_both_families_of_systems() -> None:
    for name, hook in read("azure.yaml")["hooks"].items():
        assert hook["posix"] == {"shell": "sh", "run": f"infra/hooks/{name}.sh"}
        assert hook["windows"] == {"shell": "pwsh", "run": f"infra/hooks/{name}.ps1"}
        for form in hook.values():
            assert (CHECKOUT / form["run"]).is_file()


@pytest.mark.parametrize("script", sorted(HOOKS.glob("*.sh")), ids=lambda path: path.name)
def test_a_hook_is_valid_shell_and_azd_can_start_it(script: Any) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_what_the_hooks_read_is_what_the_template_puts_out(deployed: Deploy) -> None:
    outputs = deployed().outputs.keys()
    code = (CHECKOUT / "tools" / "databases.py").read_text()
    read_names = set(re.findall(r'_required\(environ, "(\w+)"\)|environ\.get\("(\w+)"', code))
    names = {one or other for one, other in read_names}
    for script in HOOKS.iterdir():
        names |= set(re.findall(r"(?:\$env:|\$)([A-Z][A-Z_]{5,})", script.read_text()))
    assert {"SERVICE_API_URI", "SQL_MONITOR_SERVER", "SMOKE_USER"} <= names
    assert names - {"LASTEXITCODE", "SMOKE_WAIT_SECONDS"} <= outputs


def test_azds_parameters_are_the_templates() -> None:
    declared = {item.name: item for item in parse(INFRA / "main.bicep").of_kind("param")}
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given.keys() == declared.keys(), "everything can be set with azd"
    for name, entry in given.items():
        # azd leaves out what is not set, so the template's default holds; text may have a default of its own.
        assert re.fullmatch(r"\$\{[A-Z][A-Z_]*(=[^}]*)?\}", entry["value"]), name
        if declared[name].type_text != "string":
            assert "=" not in entry["value"], f"{name}: the template has the default"
    assert len({entry["value"] for entry in given.values()}) == len(given)


def test_local_settings_are_complete_and_known(local_settings: dict[str, str]) -> None:
    settings = Settings.from_environment(local_settings)
    assert settings.sweep_schedule == local_settings["SWEEP_SCHEDULE"]
    hosts_own = {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"}
    assert local_settings.keys() - hosts_own <= read_by_the_product(local_settings)


def test_local_settings_name_the_ports_of_compose(local_settings: dict[str, str]) -> None:
    published = {
        int(port.split(":")[1]): name
        for name, service in read("compose.yaml")["services"].items()
        for port in service.get("ports", ())
    }
    assert published[6379] == "redis"
    assert local_settings["Redis"] == "localhost:6379"
    assert published[1433] == "sql-server"
    assert "Server=tcp:localhost,1433;" in local_settings["SqlMonitor"]
    assert published[5672] == "event-hubs"  # where a connection string without a port leads
    for setting, service in (("WebPubSub", "web-pubsub"), ("AUTH_ISSUER", "identity")):
        match = re.search(r"http://localhost:(\d+)", local_settings[setting])
        assert match
        assert published[int(match[1])] == service


def test_local_settings_and_compose_share_their_secrets(local_settings: dict[str, str]) -> None:
    services = read("compose.yaml")["services"]
    key = re.search(r"--access-key (\S+)", services["web-pubsub"]["command"])
    assert key
    assert f"AccessKey={key[1]};" in local_settings["WebPubSub"]
    default = re.search(r":-([^}]+)}", services["sql-server"]["environment"]["MSSQL_SA_PASSWORD"])
    assert default
    assert f"PWD={default[1]};" in local_settings["SqlCore"]
    identity = services["identity"]["command"]
    assert f"--issuer {local_settings['AUTH_ISSUER']} " in identity
    assert f"--audience {local_settings['AUTH_AUDIENCE']} " in identity


def test_images_are_pinned_and_listen_on_this_machine_only() -> None:
    for name, service in read("compose.yaml")["services"].items():
        assert "build" in service or re.search(r":\d+\.\d+|:\d{4}-CU\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    base = re.search(r"(?m)^FROM (\S+)", (CHECKOUT / "compose" / "emulators.Dockerfile").read_text())
    assert base
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+", base[1])


def test_every_service_stays_and_has_a_health_check() -> None:
    """One that ends by itself, even with success, fails `docker compose up --wait`."""
    services = read("compose.yaml")["services"]
    # This one has no shell in its image; its neighbour checks it.
    stays = set(services) - {"event-hubs"}
    assert "http://event-hubs:5300/health" in services["event-hubs-health"]["healthcheck"]["test"]
    for name in stays:
        assert services[name]["healthcheck"]["test"], name


def test_the_databases_of_local_settings_are_made(local_settings: dict[str, str]) -> None:
    """By the health check, so that they are there when `docker compose up --wait` returns."""
    service = read("compose.yaml")["services"]["sql-server"]
    [mounted] = [volume.split(":")[1] for volume in service["volumes"] if "databases.sql" in volume]
    assert service["healthcheck"]["test"].endswith(f"-i {mounted}")
    made = set(re.findall(r"CREATE DATABASE (\w+);", (CHECKOUT / "compose" / "databases.sql").read_text()))
    assert made == {
        match[1] for name in ("SqlMonitor", "SqlCore") if (match := re.search(r"Database=(\w+);", local_settings[name]))
    }


def test_compose_mounts_what_is_there() -> None:
    for name, service in read("compose.yaml")["services"].items():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (CHECKOUT / volume.split(":")[0]).exists(), f"{name}: {volume}"


def test_partition_counts_agree(deployed: Deploy) -> None:
    config = json.loads((CHECKOUT / "compose" / "event-hubs.json").read_text())
    [hub] = config["UserConfig"]["NamespaceConfig"][0]["Entities"]
    in_azure = deployed("dev").only("Microsoft.EventHub/namespaces/eventhubs")
    assert (hub["Name"], hub["PartitionCount"]) == (in_azure.name, in_azure.properties["partitionCount"])
    assert "$Default" not in json.dumps(hub), "the emulator makes that group itself and refuses to be told"


def test_redis_is_set_up_as_in_azure(deployed: Deploy) -> None:
    command = read("compose.yaml")["services"]["redis"]["command"]
    properties = deployed().only("Microsoft.Cache/redisEnterprise/databases").properties
    assert f"--notify-keyspace-events {properties['notifyKeyspaceEvents']} " in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", ["test.yml", "infra.yml"])
def test_a_workflow_has_limits_and_few_rights(name: str) -> None:
    workflow = read(f".github/workflows/{name}")
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "uses" in step:
                assert re.search(r"@v\d+$", step["uses"]), step["uses"]


def test_the_workflow_asks_what_a_deployment_of_each_size_would_change() -> None:
    job = read(".github/workflows/infra.yml")["jobs"]["what-if"]
    sizes = {file.stem for file in INFRA.glob("*.bicepparam")}
    assert set(job["strategy"]["matrix"]["size"]) == sizes
    assert "az deployment sub what-if" in job["steps"][-1]["run"]
