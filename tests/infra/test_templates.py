"""The templates as text and as what they deploy: form, versions, properties, names."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tree_sitter import Node

from tests.infra.azure_facts import ABBREVIATIONS, RUNTIME_VALUES, resource_properties
from tests.infra.bicep.evaluate import Deployment, ParameterError, deploy, read_parameters
from tests.infra.bicep.functions import FailedError
from tests.infra.bicep.syntax import parse, text_of
from tests.infra.conftest import ENVIRONMENT, INFRA, SIZES, Deploy

TEMPLATES = sorted(INFRA.rglob("*.bicep"))
KINDS: dict[str, type] = {"string": str, "int": int, "bool": bool}


def identifiers(node: Node) -> Iterator[str]:
    if node.type == "identifier":
        yield text_of(node)
    for child in node.children:
        yield from identifiers(child)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_declares_nothing_that_it_does_not_use(template: Path) -> None:
    declarations = parse(template).declarations
    used = [name for item in declarations for name in identifiers(item.node)]
    for item in declarations:
        if item.kind in {"param", "var"} or item.existing:
            assert used.count(item.name) > 1, f"{item.kind} {item.name} is not used"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_parameter_of_the_main_template_is_explained_and_text_has_a_limit(template: Path) -> None:
    for item in parse(template).of_kind("param"):
        if template.name == "main.bicep":
            assert {"description", "allowed"} & item.decorators.keys(), f"{item.name} has no description"
            if item.type_text == "int":
                assert {"minValue", "allowed"} & item.decorators.keys(), f"{item.name} has no limits"


def test_every_module_is_composed_once() -> None:
    composed = [
        (template.parent / item.type_text).relative_to(INFRA)
        for template in TEMPLATES
        for item in parse(template).of_kind("module")
    ]
    assert sorted(composed) == sorted(path.relative_to(INFRA) for path in (INFRA / "modules").iterdir())


def test_every_resource_is_of_an_allowed_api_version(any_deployment: Deployment) -> None:
    for resource in any_deployment.resources:
        version, _ = resource_properties()[resource.type]
        assert resource.api_version == version, f"{resource.file.name}: {resource.type}"


def test_every_property_is_one_that_azure_documents(any_deployment: Deployment) -> None:
    for resource in any_deployment.resources:
        if not resource.existing:
            _, known = resource_properties()[resource.type]
            for path, value in leaves(resource.body):
                matches(resource.type, path, value, known)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}[]" if isinstance(item, dict) else path)
    elif value is not None:
        yield path, value


def matches(kind: str, path: str, value: Any, known: dict[str, str]) -> None:
    form = known.get(path)
    if form is None:
        wild = [name for name in known if name.endswith(".*") and path.startswith(name[:-1])]
        assert wild, f"{kind} is not known to have {path}"
        return
    form = form.strip("[]")
    if form in KINDS:
        assert type(value) is KINDS[form], f"{kind} {path} must be {form}, not {value!r}"
    elif form != "any":
        assert value in form.split("|"), f"{kind} {path} must be one of {form}, not {value!r}"


def test_names_follow_the_cloud_adoption_abbreviations(any_deployment: Deployment) -> None:
    for resource in any_deployment.resources:
        if resource.type in ABBREVIATIONS:
            assert resource.name.startswith(ABBREVIATIONS[resource.type]), resource.name
    account = any_deployment.only("Microsoft.Storage/storageAccounts").name
    assert re.fullmatch(r"[a-z0-9]{3,24}", account)


def test_no_two_resources_have_one_id(any_deployment: Deployment) -> None:
    ids = [item.id.lower() for item in any_deployment.resources if not item.existing]
    assert sorted(ids) == sorted(set(ids))


def test_what_a_module_refers_to_is_deployed(any_deployment: Deployment) -> None:
    made = {item.id.lower() for item in any_deployment.resources if not item.existing}
    for item in any_deployment.resources:
        assert item.id.lower() in made, f"{item.file.name} refers to {item.id}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eventHubPartitions": 33}, "eventHubPartitions: maxValue is 32, not 33"),
        ({"eventHubPartitions": 0}, "eventHubPartitions: minValue is 1, not 0"),
        ({"eventHubMaximumThroughputUnits": 41}, "maxValue is 40"),
        ({"maximumInstances": 33}, "maxValue is 32"),
        ({"alwaysReadyInstances": 0}, "minValue is 1"),
        ({"webPubSubUnits": 3}, "webPubSubUnits must be one of"),
        ({"redisSku": "Balanced_B50"}, "redisSku must be one of"),
        ({"hostingPlan": "consumption"}, "hostingPlan must be one of"),
        ({"size": "large"}, "size must be one of"),
        ({"authIssuer": ""}, "authIssuer: minLength is 12"),
        ({"sqlAdministratorId": "me"}, "sqlAdministratorId: minLength is 36"),
        ({"environmentName": "x" * 65}, "environmentName: maxLength is 64"),
        ({"vnetEnabled": "yes"}, "vnetEnabled must be of type bool"),
        ({"regions": 2}, "has no parameter regions"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(deployed: Deploy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        deployed(**changes)


@pytest.mark.parametrize("secret", ["", "hunter2"])
def test_a_webhook_without_a_place_for_its_secret_is_refused(deployed: Deploy, secret: str) -> None:
    with pytest.raises(FailedError, match="alertWebhookSecretUri must be the https address"):
        deployed(alertWebhookUrl="https://hooks.example.com", alertWebhookSecretUri=secret)


def test_a_required_parameter_that_is_missing_is_named() -> None:
    with pytest.raises(ParameterError, match="AUTH_ISSUER is not set"):
        read_parameters(INFRA / "dev.bicepparam", {})
    template, values = read_parameters(INFRA / "dev.bicepparam", ENVIRONMENT)
    with pytest.raises(ParameterError, match="authClientId is missing"):
        deploy(template, {name: value for name, value in values.items() if name != "authClientId"}, RUNTIME_VALUES)


def test_limits_that_contradict_each_other_are_evened_out(deployed: Deploy) -> None:
    namespace = deployed(eventHubThroughputUnits=8, eventHubMaximumThroughputUnits=2).only(
        "Microsoft.EventHub/namespaces"
    )
    assert namespace.properties["maximumThroughputUnits"] == namespace.body["sku"]["capacity"] == 8


@pytest.mark.parametrize("ready", [1, 9, 20])
@pytest.mark.parametrize("maximum", [1, 3, 16])
@pytest.mark.parametrize("zones", [False, True])
def test_a_plan_has_room_for_the_instances_that_are_ready(
    deployed: Deploy, ready: int, maximum: int, zones: bool
) -> None:
    deployment = deployed(alwaysReadyInstances=ready, maximumInstances=maximum, zoneRedundant=zones)
    config = deployment.only("Microsoft.Web/sites").properties["siteConfig"]
    plan = deployment.only("Microsoft.Web/serverfarms")
    assert config["minimumElasticInstanceCount"] == min(ready, maximum) <= config["functionAppScaleLimit"]
    capacity = plan.body["sku"]["capacity"]
    assert config["minimumElasticInstanceCount"] <= capacity <= plan.properties["maximumElasticWorkerCount"]
    assert capacity >= (3 if zones else 1)


if shutil.which("bicep"):

    @pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
    @pytest.mark.parametrize("command", ["build", "lint"])
    def test_the_real_compiler_takes_it(template: Path, command: str) -> None:
        arguments = ["bicep", command, str(template), *(["--stdout"] if command == "build" else [])]
        answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        assert not answer.stderr.strip(), answer.stderr

    @pytest.mark.parametrize("size", SIZES)
    def test_the_real_compiler_takes_the_parameters(size: str) -> None:
        file = str(INFRA / f"{size}.bicepparam")
        import os

        answer = subprocess.run(
            ["bicep", "build-params", file, "--stdout"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | ENVIRONMENT,
        )
        assert answer.returncode == 0, answer.stderr
