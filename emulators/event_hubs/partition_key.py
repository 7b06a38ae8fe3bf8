"""Which partition a partition key belongs to."""

import struct
from functools import lru_cache

_MASK = 0xFFFF_FFFF


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _lookup3(data: bytes) -> tuple[int, int]:
    """Bob Jenkins' lookup3 (`hashlittle2`, public domain) with zero seeds: the primary and secondary hash."""
    a = b = c = (0xDEAD_BEEF + len(data)) & _MASK
    if not data:
        return c, b
    padded = data + bytes(-len(data) % 12)
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    for at in range(0, len(words) - 3, 3):
        a, b, c = (a + words[at]) & _MASK, (b + words[at + 1]) & _MASK, (c + words[at + 2]) & _MASK
        a, c = ((a - c) & _MASK) ^ _rotate(c, 4), (c + b) & _MASK
        b, a = ((b - a) & _MASK) ^ _rotate(a, 6), (a + c) & _MASK
        c, b = ((c - b) & _MASK) ^ _rotate(b, 8), (b + a) & _MASK
        a, c = ((a - c) & _MASK) ^ _rotate(c, 16), (c + b) & _MASK
        b, a = ((b - a) & _MASK) ^ _rotate(a, 19), (a + c) & _MASK
        c, b = ((c - b) & _MASK) ^ _rotate(b, 4), (b + a) & _MASK
    a, b, c = (a + words[-3]) & _MASK, (b + words[-2]) & _MASK, (c + words[-1]) & _MASK
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    c = ((c ^ b) - _rotate(b, 24)) & _MASK
    return c, b


@lru_cache(maxsize=65_536)
def partition_index(key: str, partitions: int) -> int:
    """The index of the partition for `key`: the same one that azure-eventhub's buffered producer computes itself."""
    primary, secondary = _lookup3(key.encode())
    folded = (primary ^ secondary) & 0xFFFF
    signed = folded - 0x1_0000 if folded >= 0x8000 else folded
    return signed % partitions
