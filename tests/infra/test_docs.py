"""What the pages for operators name exists."""

import json
import re
from pathlib import Path

import pytest

from tests.infra.bicep.syntax import parse
from tests.infra.conftest import CHECKOUT, INFRA

DOCS = CHECKOUT / "docs"
PAGES = [DOCS / name for name in ("deploy.md", "operations.md", "costs.md", "internet-scale.md")]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_has_the_targets(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (CHECKOUT / "Makefile").read_text()))
    named = re.findall(r"(?:`|^|&& |\(|\t)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_azds_variables_lead_to_parameters() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    variables = {re.sub(r"^\$\{|[=}].*$", "", entry["value"]) for entry in given.values()}
    text = (DOCS / "deploy.md").read_text()
    text += (DOCS / "operations.md").read_text().partition("| to raise |")[2]
    named = set(re.findall(r"azd env set ([A-Z_]+)|`((?:PULSE|CORE|SQL_ADMINISTRATOR|ALERT)_[A-Z_]+)[=`]", text))
    assert {one or other for one, other in named} - {"NAME"} <= variables


def test_parameters_that_are_named_are_declared() -> None:
    declared = {item.name for item in parse(INFRA / "main.bicep").of_kind("param")}
    choices = re.findall(
        r"(?m)^\| `(?:PULSE|CORE|SQL|ALERT)_\w+`[^|]*\| ((?:`\w+`(?:, )?…?)+)", (DOCS / "deploy.md").read_text()
    )
    table = (DOCS / "operations.md").read_text().partition("| to raise |")[2]
    raised = re.findall(r"(?m)^\| [\w ]+ \| (`[^|]+)\|", table)
    assert len(choices) > 5
    assert len(raised) > 4
    named = {name for cell in (*choices, *raised) for name in re.findall(r"`(\w+)`", cell)}
    assert named >= {"hostingPlan", "sessionSettings", "redisSku", "maximumInstances"}
    assert named <= declared


def test_every_alert_is_explained() -> None:
    module = (INFRA / "modules" / "alerts.bicep").read_text()
    names = set(re.findall(r"(?m)^    name: '([a-z-]+)'$", module)) | set(
        re.findall(r"'ar-([a-z-]+)-\$\{token}'", module)
    )
    explained = set(re.findall(r"(?m)^\| `([a-z-]+)` \|", (DOCS / "operations.md").read_text()))
    assert names <= explained


def test_alerts_and_queries_read_what_the_product_measures() -> None:
    code = (CHECKOUT / "shared" / "metrics.py").read_text()
    measured = set(re.findall(r'"(facility_pulse\.\w+)"', code))
    page = (DOCS / "operations.md").read_text()
    listed = {
        name
        for row in re.findall(r"(?m)^\| (`facility_pulse\.[^|]+)\|", page)
        for name in re.findall(r"`([\w.]+)`", row)
    }
    assert listed == measured
    for text in ((INFRA / "modules" / "alerts.bicep").read_text(), page):
        used = set(re.findall(r'"(facility_pulse\.\w+)"', text))
        assert used
        assert used <= measured


def test_queries_read_the_columns_that_the_exporter_fills() -> None:
    """It sends minimum, maximum and count of histograms only; a gauge and a counter have their value."""
    code = (CHECKOUT / "shared" / "metrics.py").read_text()
    histograms = set(re.findall(r'create_histogram\(\s*"(facility_pulse\.\w+)"', code))
    assert histograms
    queries = re.findall(r"query: '([^']+)'", (INFRA / "modules" / "alerts.bicep").read_text())
    queries += re.findall(r"```kusto\n(.*?)```", (DOCS / "operations.md").read_text(), re.DOTALL)
    measured = [query for query in queries if query.startswith("customMetrics")]
    assert len(measured) >= 4
    for query in measured:
        names = set(re.findall(r'"(facility_pulse\.\w+)"', query))
        columns = set(re.findall(r"\bvalue\w*", query))
        assert columns <= {"value", "valueMin", "valueMax", "valueCount"}
        assert columns <= {"value"} or names <= histograms, query
