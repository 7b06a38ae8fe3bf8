"""Entity tags (RFC 9110, section 8.8.3): by them a caller asks whether what it holds is still the same."""

import hashlib


def entity_tag(content: bytes) -> str:
    """Returns the tag of all forms in which this content is sent.

    It is weak, since a strong one must differ between content codings (section 8.8.3.3).
    """
    return f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def is_held(if_none_match: str, tag: str) -> bool:
    """Returns whether If-None-Match lists this tag, compared weakly (section 13.1.2)."""
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in tags
