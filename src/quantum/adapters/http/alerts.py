"""Reading: alerts and incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from litestar import get
from litestar.params import FromQuery, QueryParameter

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.adapters.http.parameters import Cursor, Key, Limit, TimeMs, read_cursor
from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import AlertState, IncidentState
from quantum.domain.policies import Severity

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ports import AlertStore, NotificationQueue
    from quantum.application.silencing import Silencing
    from quantum.application.why import Why

DETAIL: Final = 200
"""How many deliveries of an alert, and alerts of an incident, are shown with it."""


def alert_routes(
    alerts: AlertStore, deliveries: NotificationQueue, why: Why, silencing: Silencing
) -> list[HTTPRouteHandler]:
    """Return the handlers of alerts."""

    @get("/api/v1/alerts", operation_id="listAlerts", tags=["reading"], summary="Alerts, newest first")
    async def list_alerts(
        states: Annotated[list[m.AlertStateName] | None, QueryParameter(name="state")] = None,
        severity: FromQuery[list[m.Severity] | None] = None,
        policy_id: Annotated[str | None, QueryParameter(max_length=200)] = None,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.AlertPage:
        wanted = AlertFilter(
            states=tuple(AlertState(one) for one in states or []),
            severities=tuple(Severity(one) for one in severity or []),
            policy_id=policy_id,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        found = await alerts.alerts(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].pending_at_ms, found[-1].id) if len(found) == limit else None
        return m.AlertPage(items=[views.alert(one) for one in found], next_cursor=last)

    @get("/api/v1/alerts/{alert_id:str}", operation_id="getAlert", tags=["reading"], summary="An alert and its history")
    async def one_alert(alert_id: Key) -> m.AlertDetail:
        found, transitions = await alerts.alert(alert_id)
        sent = await deliveries.deliveries(alert_id, Page(limit=DETAIL))
        card = await why.of_alert(found)
        return m.AlertDetail(
            alert=views.alert(found),
            silence=views.alert_silence(silencing.of_alert(found)),
            transitions=[views.transition(one) for one in transitions],
            deliveries=[views.delivery(one) for one in sent],
            routed=views.routed(found.routed) if found.routed else None,
            why=views.why_card(card) if card else None,
        )

    return [list_alerts, one_alert]


def incident_list_routes(alerts: AlertStore) -> list[HTTPRouteHandler]:
    """Return the handlers that show incidents; what people do with them is in `control`."""

    @get("/api/v1/incidents", operation_id="listIncidents", tags=["reading"], summary="Incidents, newest first")
    async def list_incidents(
        states: Annotated[list[m.IncidentStateName] | None, QueryParameter(name="state")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.IncidentPage:
        wanted = tuple(IncidentState(one) for one in states or [])
        found = await alerts.incidents(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].opened_at_ms, found[-1].id) if len(found) == limit else None
        return m.IncidentPage(items=[views.incident(one) for one in found], next_cursor=last)

    @get("/api/v1/incidents/{incident_id:str}", operation_id="getIncident", tags=["reading"], summary="An incident")
    async def one_incident(incident_id: Key) -> m.IncidentDetail:
        found = await alerts.incident(incident_id)
        its_alerts = [(await alerts.alert(alert_id))[0] for alert_id in found.alert_ids[-DETAIL:]]
        return m.IncidentDetail(incident=views.incident(found), alerts=[views.alert(one) for one in its_alerts])

    return [list_incidents, one_incident]
