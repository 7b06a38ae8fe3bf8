"""Route templates without a server: constraints, precedence, errors."""

import pytest

from emulators.host.errors import StartupError
from emulators.host.router import Router, build_route


def router(*templates: str, methods: tuple[str, ...] = ()) -> Router:
    return Router(build_route(template, "", template, methods, template) for template in templates)


def find(target: Router, path: str) -> tuple[object, dict[str, str]] | None:
    match = target.find("GET", path)
    return None if match is None else (match.target, match.parameters)


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", ["0", "-7", "2147483647"], ["x", "1.5", "2147483648"]),
        ("long", ["9223372036854775807"], ["9223372036854775808"]),
        ("bool", ["true", "FALSE"], ["yes"]),
        ("guid", ["0f8fad5b-d9cb-469f-a165-70867728950e"], ["0f8fad5b"]),
        ("alpha", ["abcXYZ"], ["a1"]),
        ("double", ["1.5", "-2"], ["one"]),
        ("datetime", ["2026-11-21"], ["tomorrow"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["a"], ["abc"]),
        ("min(5)", ["5"], ["4", "x"]),
        ("max(5)", ["5"], ["6"]),
        ("range(1,3)", ["2"], ["0", "4"]),
        ("regex(^f-\\d+$)", ["f-12"], ["g-1", "f-x"]),
        ("int:min(3)", ["3"], ["2", "x"]),
    ],
)
def test_constraints(constraint: str, good: list[str], bad: list[str]) -> None:
    target = router(f"things/{{id:{constraint}}}")
    assert [find(target, f"/things/{value}") for value in good] == [
        (f"things/{{id:{constraint}}}", {"id": value}) for value in good
    ]
    assert [find(target, f"/things/{value}") for value in bad] == [None] * len(bad)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a/b", "a/b"),
        ("/a/5", "a/{id:int}"),
        ("/a/x", "a/{name}"),
        ("/a/b/c", "a/b/c"),
        ("/a/x/c", "a/{name}/c"),
        ("/a/x/y", "a/{*rest}"),
        ("/z", "{*all}"),
        ("/", "{*all}"),
    ],
)
def test_the_more_specific_route_wins_whatever_the_order(path: str, template: str) -> None:
    templates = ["{*all}", "a/{*rest}", "a/{name}", "a/{name}/c", "a/{id:int}", "a/b", "a/b/c"]
    for order in (templates, templates[::-1]):
        match = find(router(*order), path)
        assert match is not None
        assert match[0] == template


def test_defaults_complex_segments_and_encoded_characters() -> None:
    target = router("page/{number=1}", "{name}.{type}")
    assert find(target, "/page") == ("page/{number=1}", {"number": "1"})
    assert find(target, "/report.pdf") == ("{name}.{type}", {"name": "report", "type": "pdf"})
    assert find(router("u/{id}"), "/u/a%40b%2Fc%7C%25") == ("u/{id}", {"id": "a@b%2Fc|%"})


def test_a_method_decides_between_routes_of_one_path() -> None:
    target = Router([build_route("read", "", "x", ["GET"], "read"), build_route("write", "", "x", ["POST"], "write")])
    assert [getattr(target.find(method, "/x"), "target", None) for method in ("GET", "HEAD", "POST", "PUT")] == [
        "read",
        "read",
        "write",
        None,
    ]


@pytest.mark.parametrize("template", ["{a", "a}", "{*a}/b", "{a}/{a}", "a//b", "{a:nothing}", "{a:regex([)}"])
def test_a_bad_template_is_refused(template: str) -> None:
    with pytest.raises(StartupError, match="function f: route"):
        build_route("f", "api", template, (), "f")
