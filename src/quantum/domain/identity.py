"""Ids made of content: the same conclusion has the same id in the live system and in a replay.

>>> content_id("a", 1) == content_id("a", 1) != content_id("a", 2)
True
"""

from __future__ import annotations

from hashlib import blake2b


def content_id(*parts: str | int | bytes, digits: int = 16) -> str:
    """Return `digits` hex digits of the BLAKE2b hash of the parts, unambiguously joined."""
    digest = blake2b(digest_size=digits // 2)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.hexdigest()
