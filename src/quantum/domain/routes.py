"""Routes: whom alerts are told to whose policies name nobody. Values alone; `routing` has the tree at work.

Routes form a tree, as in Alertmanager. Its root is the route `default`, which is always there and takes every alert;
all others have a parent, and matchers that an alert has to satisfy. Of the children of a route the first that matches
takes the alert, those behind it only if that one goes on.

>>> Route(name="databases").parent
'default'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quantum.domain.labels import Matcher

DEFAULT: Final = "default"
"""Name of the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route.

    Attributes:
        name: unique; children name it.
        parent: name of the route under which it is tried; empty for the root alone.
        order: siblings are tried in this order, those of the same one by name.
        matchers: of an alert's labels, as silences know them; all must hold, none means every alert.
        receivers: names of those that are told; empty means nobody is, None those of the parent.
        goes_on: whether its later siblings are tried too when it matches (Alertmanager's `continue`).
        version: 1, 2, 3, ...: raised by each edit.
    """

    name: str
    parent: str = DEFAULT
    order: int = 0
    matchers: tuple[Matcher, ...] = ()
    receivers: tuple[str, ...] | None = None
    goes_on: bool = False
    version: int = 1


class RouteOutcome(StrEnum):
    """What became of an alert at a route."""

    TOLD = "told"
    LED_ON = "led_on"
    NO_MATCH = "no_match"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True)
class RouteStep:
    """A route that was come to, and why it was taken or not, in words."""

    route: str
    outcome: RouteOutcome
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Where an alert was led.

    Attributes:
        receivers: who is told: each once, in the order in which the routes name them.
        routes: names of the routes that decided it, at least one.
        steps: the routes that were come to, a route before its children: the first `routing.MAX_STEPS`.
        left_out: how many steps there were besides.
    """

    receivers: tuple[str, ...]
    routes: tuple[str, ...]
    steps: tuple[RouteStep, ...]
    left_out: int = 0
