"""Models as bytes: read back as they were, and whatever else comes is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.test_model_store import LINEAGE
from tests.models import trained

from quantum.adapters import wire
from quantum.adapters.model_rows import read_model, version_of
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet
from quantum.domain.models import MAX_MODEL_BYTES, ModelKind

if TYPE_CHECKING:
    from collections.abc import Callable

PACKED = wire.pack_model(trained(ModelKind.GROUPS).model)


def repacked(value: object) -> bytes:
    """Return something else with a checksum that is right."""
    return sealed(bytes(cramjam.zstd.compress(wire.encode(value))))


def sealed(body: bytes) -> bytes:
    import zlib

    return wire.MODEL_MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("kind", ModelKind)
def test_a_model_is_read_back_as_it_was(kind: ModelKind) -> None:
    assert wire.unpack_model(wire.pack_model(trained(kind).model)) == trained(kind).model


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.integers(0, len(PACKED) - 1).map(lambda at: PACKED[:at] + b"?" + PACKED[at + 1 :])
    )
)
def test_bytes_that_were_changed_are_refused(data: bytes) -> None:
    if data == PACKED:
        return
    with pytest.raises(Rejected) as caught:
        wire.unpack_model(data)
    assert caught.value.reason == "model_damaged"


@pytest.mark.parametrize(
    "make",
    [
        lambda _: repacked(LabelSet(())),
        lambda model: repacked(replace(model, name=7)),
        lambda model: repacked(replace(model, columns=("x",) * 9)),
        lambda model: repacked(replace(model, columns=None)),
        lambda model: repacked(replace(model, kind="other")),
        lambda model: repacked(replace(model, channels=5)),
        lambda _: sealed(b"no zstd"),
        lambda _: sealed(bytes(cramjam.zstd.compress(bytes(3 * MAX_MODEL_BYTES)))),
    ],
)
def test_what_is_no_model_is_refused_even_if_its_checksum_is_right(make: Callable[[Any], bytes]) -> None:
    with pytest.raises(Rejected):
        wire.unpack_model(make(trained(ModelKind.GROUPS).model))


def test_bytes_with_another_sha256_than_was_noted_are_refused() -> None:
    about = wire.encode(version_of(trained(ModelKind.PEERS).model, 3, b"others", LINEAGE, (), 1))
    with pytest.raises(Rejected, match="version 3 of model 'night' is damaged: its sha256 is another"):
        read_model("night", 3, [(about, PACKED)])
