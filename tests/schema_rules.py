"""Sound by the description, and refused all the same: the rules of the API that OpenAPI has no words for.

Each row is a request that the description lets through, and the reason for which it is refused. A test sends every one,
so that no row is left here that is not needed any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.watching import HOT

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal that the description cannot foretell.

    Attributes:
        why: what OpenAPI has no words for.
        status: how it is answered.
        body: JSON of a request that is refused so, if it has one.
        query: of that request.
        headers: of that request.
        path: parameters in its path.
    """

    why: str
    status: int = field(default=400, kw_only=True)
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)


FRACTION: Final = "got `float`"
"""JSON Schema counts 1.0 as an integer; here a number that is written with a fraction is none, in any body."""
SPENT: Final = "a cursor is one that was given out"
GRAMMAR: Final = "a selector has a grammar of its own"
ORDER: Final = "the end lies after the start"
VERSION: Final = "an ETag is one that was given out"
OTHER: Final = {"If-Match": '"99"'}
THEN: Final = {"start_ms": 2, "end_ms": 1}
KEY: Final = {"name": "a", "scopes": ["read"]}
RECEIVER: Final = {"name": "a", "url": "https://hooks.example.com/a"}
RUN: Final = {"name": "a", "kind": "window-forest", "selector": "cpu", "start_ms": 1, "end_ms": 2}
COLUMNS: Final = dict.fromkeys(
    ("decades", "feature", "left", "raw", "right", "roots", "slope", "threshold", "weight"), ""
)
MODEL: Final = {
    "format": 1,
    "name": "a",
    "kind": "peers",
    "selector": "cpu",
    "sha256": "0" * 64,
    "columns": COLUMNS,
}
ODD_POLICIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "policy_matchers": (
        "a matcher among them asks for a value",
        {"matchers": [{"label": "a", "op": "=", "value": ""}]},
    ),
    "policy_condition": (
        "limits are in the order that their direction asks for",
        {"condition": {"kind": "threshold", "op": "above", "raise_at": 1.0, "clear_at": 2.0}},
    ),
    "policy_text": ("texts have no NUL", {"summary": "a\0b"}),
    "policy_receiver": ("receivers are there", {"receivers": ["nobody"]}),
    "regex": ("a pattern is one of RE2", {"matchers": [{"label": "a", "op": "=~", "value": "("}]}),
}
ODD_RECEIVERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "receiver_name": ("names are printable", {"name": "a\nb"}),
    "receiver_url": ("a URL of HTTP with a host", {"url": "ftp://a"}),
    "receiver_address": ("an address that may be reached", {"url": "http://127.0.0.1/"}),
    "receiver_secret": ("a secret is printable ASCII", {"secret": "\u00e9"}),
}

ODD_ROUTES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "route_name": ("names are printable", {"name": "a\nb"}),
    "route_parent": ("a parent is there, and not below", {"parent": "nothing"}),
    "route_receiver": ("receivers are there", {"receivers": ["nobody"]}),
    "route_matchers": ("texts have no NUL", {"matchers": [{"label": "a\0", "op": "=", "value": ""}]}),
    "regex": ("a pattern is one of RE2", {"matchers": [{"label": "a", "op": "=~", "value": "("}]}),
}


def _policies(around: Any) -> dict[str, Rule]:
    return {code: Rule(why, around(HOT | {"name": "odd"} | odd)) for code, (why, odd) in ODD_POLICIES.items()}


def _cursor(text: str = "x") -> dict[str, Rule]:
    return {"cursor": Rule(SPENT, query={"cursor": text})}


SILENCE: Final[dict[str, Any]] = {
    "matchers": [{"label": "a", "op": "=", "value": "b"}],
    "ends_at_ms": 253_402_300_799_000,
}
NIGHTS: Final = {"time_zone": "UTC", "start_time": "22:00", "end_time": "06:00"}
AGAIN: Final = {"matchers": SILENCE["matchers"], "schedule": NIGHTS}
ODD_SCHEDULES: Final[dict[str, Rule]] = {
    "silence_schedule": Rule(
        "a schedule comes at some time", AGAIN | {"schedule": NIGHTS | {"first_day": "2027-02-30"}}
    ),
    "time_zone": Rule("a time zone is one of the database", AGAIN | {"schedule": NIGHTS | {"time_zone": "Mars"}}),
}
ODD_MATCHERS: Final[dict[str, Rule]] = {
    "silence_matchers": Rule(
        "a matcher among them asks for a value", {"matchers": [{"label": "a", "op": "=", "value": ""}]}
    ),
    "regex": Rule("a pattern is one of RE2", {"matchers": [{"label": "a", "op": "=~", "value": "("}]}),
}

BEYOND: Final[dict[str, dict[str, Rule]]] = {
    "GET /api/v1/alerts": _cursor(),
    "GET /api/v1/anomalies": _cursor(),
    "GET /api/v1/audit": _cursor(),
    "GET /api/v1/incidents": _cursor(),
    "GET /api/v1/models/coverage": _cursor("0" * 16),
    "GET /api/v1/series": _cursor("0" * 16) | {"selector": Rule(GRAMMAR, query={"match[]": "="})},
    "GET /api/v1/what-moved": {"window": Rule(ORDER, query=THEN)},
    "POST /api/v1/api-keys": {
        "api_key_expiry": Rule("a key expires in the future", KEY | {"expires_at_ms": 0}),
        "api_key_name": Rule("names are printable", KEY | {"name": "\n"}),
    },
    "POST /api/v1/models": {"model_damaged": Rule("columns depend on the kind, the digest on them", MODEL)},
    "POST /api/v1/models/{name}/score": {
        "score_columns": Rule(
            "columns are equally long", {"series": [{"timestamps_ms": [], "values": [1.0]}]}, path={"name": "a"}
        )
    },
    "POST /api/v1/policies": _policies(lambda policy: policy),
    "POST /api/v1/policies/preview": _policies(lambda policy: {"policy": policy, "start_ms": 1, "end_ms": 2})
    | {"replay_range": Rule(ORDER, {"policy": HOT} | THEN)},
    "POST /api/v1/policies/{key}/learn": {
        "lesson": Rule("which other member there is depends on `setting`", {"setting": "for_ms"}, path={"key": "a"})
    },
    "POST /api/v1/receivers": {code: Rule(why, RECEIVER | odd) for code, (why, odd) in ODD_RECEIVERS.items()},
    "PUT /api/v1/receivers/{name}": {
        code: Rule(why, RECEIVER | {"name": "there"} | odd, path={"name": "there"})
        for code, (why, odd) in ODD_RECEIVERS.items()
    }
    | {
        "precondition_failed": Rule(
            VERSION, RECEIVER | {"name": "there"}, path={"name": "there"}, headers=OTHER, status=412
        )
    },
    "DELETE /api/v1/receivers/{name}": {
        "precondition_failed": Rule(VERSION, path={"name": "there"}, headers=OTHER, status=412)
    },
    "POST /api/v1/replay": _policies(lambda policy: {"policies": [policy], "start_ms": 1, "end_ms": 2})
    | {"replay_range": Rule(ORDER, THEN)},
    "POST /api/v1/routes": {code: Rule(why, {"name": "odd"} | odd) for code, (why, odd) in ODD_ROUTES.items()},
    "PUT /api/v1/routes/{name}": {
        code: Rule(why, {"name": "way"} | odd, path={"name": "way"}) for code, (why, odd) in ODD_ROUTES.items()
    }
    | {
        "precondition_failed": Rule(VERSION, {"name": "way"}, path={"name": "way"}, headers=OTHER, status=412),
    },
    "DELETE /api/v1/routes/{name}": {
        "precondition_failed": Rule(VERSION, path={"name": "way"}, headers=OTHER, status=412)
    },
    "POST /api/v1/routes/test": {
        code: Rule(why, {"labels": {}, "routes": [{"name": "odd"} | odd]}) for code, (why, odd) in ODD_ROUTES.items()
    }
    | {
        "label_name": Rule("names are not empty", {"labels": {"": "a"}}),
        "label_value": Rule("labels have no NUL", {"labels": {"a": "\0"}}),
        "reserved_label": Rule("some names are taken", {"labels": {"__tenant": "a"}}),
        "max_labels": Rule("there are so many", {"labels": {f"l{number}": "a" for number in range(40)}}),
    },
    "POST /api/v1/silences": {code: Rule(rule.why, SILENCE | rule.body) for code, rule in ODD_MATCHERS.items()}
    | ODD_SCHEDULES
    | {
        "silence_time": Rule("a silence ends in the future, and lasts a year at most", SILENCE | {"ends_at_ms": 0}),
        "silence_text": Rule("texts have no NUL", SILENCE | {"comment": "a\0b"}),
    },
    "POST /api/v1/silences/preview": ODD_MATCHERS
    | ODD_SCHEDULES
    | {
        "silence_time": Rule(
            "a schedule has an end in the future",
            AGAIN | {"schedule": NIGHTS | {"first_day": "2027-01-13", "last_day": "2027-01-13"}},
        )
    },
    "POST /api/v1/samples": {
        "column_length": Rule(
            "columns are equally long", {"series": [{"labels": {}, "timestamps_ms": [], "values": [1]}]}
        ),
        "too_old": Rule(
            "how old a sample may be depends on the time",
            {"series": [{"labels": {"__name__": "a"}, "timestamps_ms": [0], "values": [1]}]},
        ),
    },
    "POST /api/v1/training-runs": {
        "selector": Rule(GRAMMAR, RUN | {"selector": "="}),
        "model_name": Rule("names have letters, digits and little else", RUN | {"name": "a b"}),
        "training_range": Rule(ORDER, RUN | THEN),
        "model_by": Rule("labels to group by depend on the kind", RUN | {"kind": "peers"}),
    },
}
"""By operation and code of the problem."""


def is_beyond_words(route: str, answer: bytes) -> bool:
    """Whether a refusal is for reasons that are in the table for this route."""
    told = json.loads(answer)
    if told.get("reason") == "malformed_body":
        return FRACTION in told["detail"]
    return codes_of(told) <= BEYOND.get(route, {}).keys()


def codes_of(told: Mapping[str, Any]) -> set[str]:
    """The codes of a problem, or of samples that were refused one by one."""
    return set(told["rejected"]) if "rejected" in told else {told["reason"]}
