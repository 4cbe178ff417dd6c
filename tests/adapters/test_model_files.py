"""Models as files: read back as they were, forests of scikit-learn with the same scores, and bad ones refused."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import trained

from quantum.adapters.http.model_files import FORMAT, MAX_FILE_BYTES, file_of, forest_file, read_model_file
from quantum.domain.detectors.forests import score_samples
from quantum.domain.errors import Rejected
from quantum.domain.models import ModelKind, columns_of

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS = trained(ModelKind.GROUPS).model


def plain(kind: ModelKind = ModelKind.GROUPS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(file_of(trained(kind).model, "a test")))
    return found


def sealed(file: dict[str, Any]) -> bytes:
    """Return the bytes of a file whose sha256 is right."""
    data = b"".join(base64.b64decode(file["columns"][name]) for name in columns_of(ModelKind(file["kind"])))
    return json.dumps(file | {"sha256": hashlib.sha256(data).hexdigest()}).encode()


def with_column(name: str, change: Callable[[Any], Any], kind: ModelKind = ModelKind.GROUPS) -> bytes:
    file = plain(kind)
    array = np.frombuffer(base64.b64decode(file["columns"][name]), columns_of(kind)[name]).copy()
    changed = change(array)
    file["columns"][name] = base64.b64encode(np.asarray(changed, columns_of(kind)[name]).tobytes()).decode()
    return sealed(file)


def put(at: int, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[at] = value
        return array

    return change


@pytest.mark.parametrize("kind", ModelKind)
def test_a_model_is_read_back_as_it_was(kind: ModelKind) -> None:
    data = msgspec.json.encode(file_of(trained(kind).model, "a test"))
    assert read_model_file(data) == trained(kind).model
    assert read_model_file(sealed(plain(kind))) == trained(kind).model


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 255))
def test_a_byte_that_was_changed_is_refused_or_changes_nothing(place: int, byte: int) -> None:
    data = bytearray(msgspec.json.encode(file_of(trained(ModelKind.PEERS).model, "a test")))
    data[place % len(data)] = byte
    try:
        found = read_model_file(bytes(data))
    except Rejected:
        return
    # what the columns are not: a name, a label, how scores are joined
    assert found.columns == trained(ModelKind.PEERS).model.columns


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no model's file"),
        (b"\xff", "no model's file"),
        (b"[" * 10_000, "no model's file"),
        (b"{}", "missing required field `format`"),
        (b" " * (MAX_FILE_BYTES + 1), f"at most {MAX_FILE_BYTES} bytes"),
        (json.dumps(plain() | {"format": FORMAT + 1}).encode(), "Invalid enum value 2"),
        (json.dumps(plain() | {"more": 1}).encode(), "unknown field `more`"),
        (json.dumps(plain() | {"kind": "oracle"}).encode(), "Invalid enum value 'oracle'"),
        (json.dumps(plain() | {"kind": "deep-forecaster"}).encode(), "has the columns first, first_bias"),
        (json.dumps(plain() | {"columns": {}}).encode(), "a group-forest has the columns feature, threshold"),
        (with_column("first", put(0, np.nan), ModelKind.DEEP), "a weight of first is not within 1000"),
        (with_column("inner", put(7, -1001.0), ModelKind.DEEP), "a weight of inner is not within 1000"),
        (with_column("head", lambda one: one[:-1], ModelKind.DEEP), "head has 26 weights instead of 27"),
        (with_column("first_bias", lambda one: one[:0], ModelKind.DEEP), "a cell has 1 to 64 numbers, this one 0"),
        (with_column("first_bias", lambda _: np.zeros(65), ModelKind.DEEP), "a cell has 1 to 64 numbers, this one 65"),
        (with_column("slope", put(0, 2e9), ModelKind.DEEP), "rise by more than 1e"),
        (sealed(plain(ModelKind.DEEP) | {"by": ["host"]}), "a deep-forecaster needs no label to group by"),
        (sealed(plain(ModelKind.DEEP) | {"channels": [{"__name__": "cpu"}]}), "a deep-forecaster has no channels"),
        (json.dumps(plain() | {"sha256": "0" * 64}).encode(), "sha256 of the columns is another one"),
        (json.dumps(plain() | {"sha256": "0"}).encode(), "sha256"),
        (json.dumps(plain() | {"columns": plain()["columns"] | {"left": "?"}}).encode(), "column left is no base64"),
        (json.dumps(plain() | {"columns": plain()["columns"] | {"left": "é"}}).encode(), "column left is no base64"),
        (sealed(plain() | {"columns": plain()["columns"] | {"left": "AAA="}}), "no numbers of 4"),
        (sealed(plain() | {"selector": "{"}), "selector"),
        (sealed(plain() | {"name": "a b"}), "letters, digits"),
        (sealed(plain() | {"by": []}), "at least one label to group by"),
        (sealed(plain() | {"by": ["host", "host"]}), "each once"),
        (sealed(plain() | {"step_ms": 5}), "step_ms"),
        (sealed(plain() | {"channels": []}), "asks for what is not there"),
        (sealed(plain() | {"channels": [{"__name__": "cpu"}] * 2}), "a channel is there twice"),
        (sealed(plain() | {"channels": [{"__name__": "cpu"}, {"host": "a"}]}), "that the groups are made by"),
        (sealed(plain() | {"channels": [{"__name__": "c"}] * 129}), "channels"),
        (sealed(plain(ModelKind.PEERS) | {"channels": [{"__name__": "cpu"}]}), "a peers has no channels"),
        (with_column("threshold", put(0, np.nan)), "asks for what is not there"),
        (with_column("threshold", put(0, np.inf)), "a threshold is not finite"),
        (with_column("feature", put(0, 2)), "asks for what is not there"),
        (with_column("feature", lambda one: one[:-1]), "do not fit together"),
        (with_column("left", put(0, 0)), "leads back or nowhere"),
        (with_column("left", put(0, 10**9)), "leads back or nowhere"),
        (with_column("left", put(0, 2)), "not one parent"),
        (with_column("weight", put(1, 0)), "asks for what is not there"),
        (with_column("weight", put(1, 10**6)), "not those of its branches"),
        (with_column("roots", put(0, -1)), "roots"),
        (with_column("roots", put(1, 0)), "not one parent"),
        (with_column("roots", lambda one: one[:0]), "or none"),
        (with_column("raw", put(0, np.inf)), "knots are not finite"),
        (with_column("raw", lambda one: one[::-1]), "knots do not rise"),
        (with_column("decades", lambda one: one[:-1]), "knots do not fit"),
        (with_column("slope", lambda one: np.concatenate([one, one])), "knots do not fit"),
        (with_column("threshold", lambda one: np.resize(one, 5 << 18)), "a model has at most"),
        (with_column("feature", lambda _: np.full(3, -1), ModelKind.PEERS), "do not fit together"),
    ],
)
def test_what_is_no_model_is_refused_with_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words.replace("(", r"\(")):
        read_model_file(data)


def test_a_forest_that_was_grown_elsewhere_has_the_scores_of_scikit_learn() -> None:
    from sklearn.ensemble import IsolationForest

    rows = np.random.default_rng(1).normal(size=(900, 2)).astype(np.float32)
    forest = IsolationForest(n_estimators=20, random_state=1).fit(rows[:500])
    channels = [{"__name__": "cpu"}, {"__name__": "load"}]
    data = forest_file(
        forest, rows[500:], name="theirs", selector='{__name__=~"cpu|load"}', by=["host"], channels=channels
    )
    model = read_model_file(data)
    assert np.allclose(score_samples(model.forest, rows), forest.score_samples(rows), atol=1e-8)
    assert (model.name, model.kind, model.by) == ("theirs", ModelKind.GROUPS, ("host",))
    with pytest.raises(Rejected, match="asks for what is not there"):
        forest_file(forest, rows[500:], name="theirs", selector="cpu", by=["host"], channels=channels[:1])


def test_a_forest_over_windows_needs_no_channels() -> None:
    from sklearn.ensemble import IsolationForest

    rows = np.random.default_rng(1).normal(size=(900, 4)).astype(np.float32)
    data = forest_file(IsolationForest(n_estimators=10, random_state=1).fit(rows), rows, name="w", selector="cpu")
    assert read_model_file(data).kind is ModelKind.WINDOWS
