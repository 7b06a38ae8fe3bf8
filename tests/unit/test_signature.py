"""The webhook's signature, checked by the very lines that the documentation gives to its receivers."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.alerts.signature import sign

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def now() -> int:
    return time.time_ns() // 1_000_000


BODY = '{"name":"Süd"}'.encode()


@pytest.fixture(scope="module")
def is_ours() -> Callable[..., bool]:
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    function: Callable[..., bool] = names["is_ours"]
    return function


def test_ours_is_taken(is_ours: Callable[..., bool]) -> None:
    assert is_ours("sécret", sign("sécret", BODY, now()), BODY)


@pytest.mark.parametrize(
    ("secret", "body", "off_by"),
    [
        ("other", BODY, 0),
        ("sécret", BODY + b" ", 0),
        ("sécret", BODY, -301_000),
        ("sécret", BODY, 400_000),
    ],
)
def test_another_secret_body_or_time_is_not(
    is_ours: Callable[..., bool], secret: str, body: bytes, off_by: int
) -> None:
    assert not is_ours("sécret", sign(secret, BODY, now() + off_by), body)


def test_a_header_taken_to_another_time_is_not(is_ours: Callable[..., bool]) -> None:
    stamp, digest = sign("sécret", BODY, now()).split(",")
    later = int(stamp.removeprefix("t=")) + 1
    assert not is_ours("sécret", f"t={later},{digest}", BODY)
