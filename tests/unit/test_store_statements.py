"""The SQL files: the same set in both dialects, each saying what it takes and gives, in T-SQL that parses."""

import re
from pathlib import Path

import pytest
import sqlglot

SQL = Path(__file__).parents[2] / "shared" / "store" / "sql"
T_SQL = sorted((SQL / "sqlserver").rglob("*.sql"))
ALL = sorted(SQL.rglob("*.sql"))


def name(path: Path) -> str:
    return str(path.relative_to(SQL))


@pytest.mark.parametrize("role", ["monitor", "core"])
def test_both_dialects_have_the_same_statements(role: str) -> None:
    files = [
        {str(path.relative_to(SQL / dialect / role)) for path in (SQL / dialect / role).rglob("*.sql")}
        for dialect in ("sqlite", "sqlserver")
    ]
    assert files[0] == files[1]
    assert "migrations/0001_initial.sql" in files[0]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_file_opens_with_purpose_parameters_and_result(path: Path) -> None:
    head = re.match(r"(?:--[^\n]*\n)+", path.read_text(encoding="utf-8"))
    assert head is not None
    for part in (r"-- Purpose: \w", r"Parameters?: ", r"Result: "):
        assert re.search(part, head[0]), part


@pytest.mark.parametrize("path", T_SQL, ids=name)
def test_t_sql_parses(path: Path) -> None:
    assert sqlglot.parse(path.read_text(encoding="utf-8"), read="tsql", error_level=sqlglot.ErrorLevel.RAISE)


@pytest.mark.parametrize("path", T_SQL, ids=name)
def test_t_sql_keeps_to_what_sql_server_and_babelfish_both_take(path: Path) -> None:
    text = code_of(path)
    assert not re.search(r"\bMERGE\b|CREATE OR ALTER|\bREADONLY\b|PERIOD FOR|\bINDEX\s+\w+\s*\(", text, re.IGNORECASE)
    for added in re.findall(r"\bADD\b[^;]*;", text, re.IGNORECASE):
        assert added.count(" ADD ") <= 1


@pytest.mark.parametrize("path", T_SQL, ids=name)
def test_t_sql_takes_at_most_one_parameter_and_its_comments_hold_no_other(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    takes = "-- Parameter: JSON" in text
    assert text.count("?") == (1 if takes else 0)


@pytest.mark.parametrize(
    "path", [path for path in T_SQL if "Result: one row, the number" in path.read_text()], ids=name
)
def test_t_sql_that_writes_ends_by_telling_how_much(path: Path) -> None:
    assert re.search(r"SELECT (@changed|@@ROWCOUNT) AS changed;\s*\Z", path.read_text(encoding="utf-8"))


def code_of(path: Path) -> str:
    return re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
