"""Cursors are taken only as they were given."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cursors import Cursors
from shared.problems import InvalidRequestError

CURSORS = Cursors("a deployment")
IDS = st.text("abcXYZ019._@:|+=-", max_size=128)


@given(st.lists(st.integers(-(2**62), 2**62) | IDS, max_size=4), st.text(max_size=64))
def test_a_cursor_gives_its_position_back(position: list[int | str], listing: str) -> None:
    assert CURSORS.open(listing, CURSORS.seal(listing, *position)) == position


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_one_changed_character_is_noticed(at: int) -> None:
    cursor = CURSORS.seal("history/f-1", 1_795_000_000_000, 1_795_000_000_999, 17)
    for other in "Az_":
        if other != cursor[at]:
            with pytest.raises(InvalidRequestError, match="/cursor"):
                CURSORS.open("history/f-1", cursor[:at] + other + cursor[at + 1 :])


def test_a_cursor_of_another_list_or_deployment_is_refused() -> None:
    cursor = CURSORS.seal("history/f-1", 1)
    for cursors, listing in ((CURSORS, "history/f-2"), (Cursors("another"), "history/f-1")):
        with pytest.raises(InvalidRequestError):
            cursors.open(listing, cursor)


def test_other_spellings_and_other_texts_are_refused() -> None:
    cursor = CURSORS.seal("x", 1)
    forged = urlsafe_b64encode(urlsafe_b64decode(cursor + "==")[:12] + b"[2]").decode().rstrip("=")
    spellings = [cursor + "=", cursor + " ", cursor[:-1], cursor + "A", forged, cursor.replace("W", "W\n", 1) + "!"]
    for text in (*spellings, "", "x", "é", "\0", "A" * 100_000):
        with pytest.raises(InvalidRequestError):
            CURSORS.open("x", text)
