/** Shapes of the HTTP API; they mirror src/quantum/adapters/http/messages.py. Times are Unix milliseconds. */
export type Labels = Record<string, string>;
export type Severity = 'info' | 'warning' | 'critical';
export type AlertState = 'pending' | 'firing' | 'resolved' | 'withdrawn';
export type IncidentState = 'open' | 'acknowledged' | 'resolved';
export type Verdict = 'real' | 'expected' | 'false' | 'new_normal' | 'duplicate';
export type SeriesStatus = 'learning' | 'ok' | 'unusual' | 'late' | 'silent';

export interface Band { expected: number | null; lower: number | null; upper: number | null }
export interface SeriesItem extends Band {
  fingerprint: string; name: string; labels: Labels; status: SeriesStatus; at_ms: number | null; value: number | null; score: number;
  tier: Tier; tier_reason: string;
}
/** Which detector watches a series; `none`: it is stored, not scored. */
export type Tier = 'full' | 'cheap' | 'none';
export interface CoveragePage {
  full: number; cheap: number; none: number; full_series: number; rules: { match: string; tier: Tier }[];
  items: SeriesItem[]; next_cursor: string | null;
}
export interface SeriesPage { items: SeriesItem[]; total: number; next_cursor: string | null }
export interface AnomalyItem extends Band {
  id: string; fingerprint: string; name: string; labels: Labels; start_ms: number; end_ms: number | null; peak_at_ms: number;
  score: number; rarity: string; value: number | null;
}
export interface Points {
  at_ms: number[]; value: (number | null)[]; expected: (number | null)[]; lower: (number | null)[]; upper: (number | null)[];
  score: (number | null)[];
}
export interface Window extends Points {
  series: SeriesItem; start_ms: number; end_ms: number; resolution_ms: number; anomalies: AnomalyItem[];
  rolled_before_ms: number | null; rollup_ms: number | null;
}
export interface Contributor extends Band {
  fingerprint: string; name: string; labels: Labels; at_ms: number; value: number | null; score: number; rarity: string;
}
export interface AlertItem {
  id: string; policy_id: string; policy_name: string; policy_version: number; group: Labels; state: AlertState; severity: Severity;
  summary: string; reason: string; pending_at_ms: number; firing_at_ms: number | null; resolved_at_ms: number | null;
  changed_at_ms: number; incident_id: string | null; breaching: number; peak_score: number; contributors: Contributor[];
  silenced_by: string | null;
}
export interface AlertPage { items: AlertItem[]; next_cursor: string | null }
export interface TransitionItem { seq: number; at_ms: number; before: AlertState | null; after: AlertState; reason: string }
export interface DeliveryItem {
  id: string; receiver: string; at_ms: number; alert_id: string; alert_state: AlertState; attempts: number;
  outcome: 'open' | 'sent' | 'failed'; detail: string; due_at_ms: number | null;
}
/** `hour` is what `hour_of_day` adds, `weekday` what `day_of_week` (`Tuesday`) does, by the clocks of `zone`. */
export interface Parts {
  level: number; trend: number; hour: number; weekday: number; rest: number; history_ms: number; hour_of_day: number; day_of_week: string; zone: string;
}
export interface WhyCard {
  event: AnomalyItem; detector: string; parts: Parts | null;
  recurrence: { period_ms: number; stretch_ms: number; times: number; lower: number; upper: number; lowest: number; highest: number; words: string } | null;
  resembles: { anomaly: AnomalyItem; incident_id: string | null; verdict: Verdict | null } | null;
  along: { anomaly: AnomalyItem; correlation: number; lag_ms: number }[];
  spared: { setting: 'raise_at' | 'after_ms' | 'for_ms'; spares_at: number; fires_at: number; words: string }[];
}
export interface ForecastItem {
  series: SeriesItem; from_ms: number; quantile: number; history_ms: number; at_ms: number[]; expected: (number | null)[]; lower: (number | null)[];
  upper: (number | null)[]; models: string[]; held: (number | null)[]; tried: number[]; words: string;
  reached: { limit: number; expected_ms: number | null; earliest_ms: number | null; latest_ms: number | null } | null;
}
export interface MovedItem { series: SeriesItem; surprise: number; peak_at_ms: number; score: number }
export interface AlertDetail { alert: AlertItem; transitions: TransitionItem[]; deliveries: DeliveryItem[]; routed: Routed | null; why: WhyCard | null }
export interface RouteStep { route: string; outcome: 'told' | 'led_on' | 'no_match' | 'not_reached'; why: string }
export interface Routed { receivers: string[]; routes: string[]; steps: RouteStep[]; left_out: number }
export interface NoteItem { at_ms: number; author: string; text: string }
export interface IncidentItem {
  id: string; title: string; state: IncidentState; severity: Severity; place: Labels; alert_ids: string[]; firing: number;
  opened_at_ms: number; changed_at_ms: number; acknowledged_at_ms: number | null; acknowledged_by: string;
  resolved_at_ms: number | null; resolved_by: string; verdict: Verdict | null; notes: NoteItem[];
}
export interface IncidentPageMessage { items: IncidentItem[]; next_cursor: string | null }
export interface IncidentDetail { incident: IncidentItem; alerts: AlertItem[] }
export interface Matcher { label: string; op: '=' | '!=' | '=~' | '!~'; value: string }
export type SilenceState = 'pending' | 'active' | 'over';
export interface SilenceItem {
  id: string; state: SilenceState; matchers: Matcher[]; starts_at_ms: number; ends_at_ms: number; comment: string; author: string;
  created_at_ms: number; ended_by: string; schedule?: ScheduleItem | null; to_come?: OccurrenceItem[];
}
/** When a silence comes again; `clocks_differ` where clocks will show something else than was known when it was made. */
export interface ScheduleItem {
  time_zone: string; start_time: string; end_time: string; by_day: string[]; first_day: string; last_day: string; clocks_differ: boolean;
}
export interface ScheduleRequest { time_zone: string; start_time: string; end_time: string; by_day: string[]; last_day?: string }
export interface OccurrenceItem { starts_at_ms: number; ends_at_ms: number }
export interface PastOccurrenceItem extends OccurrenceItem { withheld: number }
export interface SilenceRequest { matchers: Matcher[]; ends_at_ms?: number; comment: string; schedule?: ScheduleRequest }
export interface SilencePreview {
  firing: number; fired: number; since_ms: number; examples: AlertItem[]; past?: PastOccurrenceItem[]; to_come?: OccurrenceItem[];
}
/** To which side of what was expected a series has to be odd; either, if it is not said. */
export type Direction = 'above' | 'below' | 'either';
export type Condition =
  | { kind: 'threshold'; op: 'above' | 'below'; raise_at: number; clear_at?: number | null }
  | { kind: 'anomaly_score'; raise_at: number; clear_at?: number | null; direction?: Direction }
  | { kind: 'absence'; after_ms: number }
  | { kind: 'time_to_limit'; op: 'above' | 'below'; limit: number; within_ms: number; probability: number }
  | { kind: 'page_budget'; pages: number; per_ms: number; direction?: Direction }
  | { kind: 'rate_of_change'; op: 'above' | 'below'; window_ms: number; raise_at: number; clear_at?: number | null };
export interface PolicyRequest {
  name: string; matchers: Matcher[]; condition: Condition; by: string[]; for_ms: number; keep_firing_for_ms: number;
  severity: Severity; summary: string; receivers: string[]; enabled: boolean;
}
export interface PolicyItem extends PolicyRequest { id: string; version: number }
export interface BudgetItem { policy_id: string; pages: number; per_ms: number; spent: number; cut_score: number | null }
export type Setting = 'raise_at' | 'after_ms' | 'for_ms' | 'direction' | 'matcher';
type Side = 'above' | 'below';
/** What a replay says of a change to a policy; `lost` are ids of incidents judged real. */
export interface EvidenceItem {
  start_ms: number; end_ms: number; alerts: number; alerts_after: number; removed: number; unwanted: number; unwanted_removed: number; confirmed: number;
  lost: string[]; unproven: number; delay_ms: number; pages: { receiver: string; before: number; after: number }[];
}
export interface OptionItem {
  setting: Setting; value: number | null; direction: Side | null; matcher: Matcher | null; text: string; harmless: boolean; policy: PolicyItem; evidence: EvidenceItem;
}
export interface ProposalItem {
  policy_id: string; version: number; start_ms: number; end_ms: number; unwanted: number; confirmed: number; options: OptionItem[];
}
export interface LearnRequest { setting: Setting; value?: number | null; direction?: Side; matcher?: Matcher; version?: number }
export interface LessonItem { at_ms: number; actor: string; before: PolicyItem; after: PolicyItem; evidence: EvidenceItem }
export interface ReceiverItem { name: string; version: number; url: string; has_secret: boolean }
/** Without `receivers` (null) a route tells whom its parent tells. */
export interface RouteRequest { name: string; parent: string; order?: number; matchers: Matcher[]; receivers: string[] | null; continue: boolean }
export interface RouteItem extends RouteRequest { version: number; order: number }
export interface PageItem {
  at_ms: number; receiver: string; alert_id: string; policy_name: string; state: AlertState; group: Labels; reason: string;
}
export interface ReplayReport {
  start_ms: number; end_ms: number; samples: number; alerts: AlertItem[]; pages: PageItem[]; alerts_live: number;
  only_replayed: string[]; only_live: string[];
}
export interface OverviewMessage {
  at_ms: number; started_at_ms: number; version: string; series: number; learning: number; silent: number; samples_total: number;
  samples_per_s: number; lag_ms: number; firing_alerts: number; open_incidents: IncidentItem[]; anomalies: AnomalyItem[];
  publishing_lag_ms: number | null;
}
export interface OverviewTick {
  at_ms: number; series: number; learning: number; silent: number; samples_total: number; samples_per_s: number; lag_ms: number;
  firing_alerts: number; open_incidents: number; anomalies: AnomalyItem[]; publishing_lag_ms: number | null;
}
/** What somebody may do: `read`; `act` on incidents, policies and models; `administer` receivers and keys; `send` samples. */
export type Right = 'read' | 'act' | 'administer' | 'send';
/** `sign_in` is where a browser is sent to sign in, empty where it cannot. */
export interface Session {
  subject: string; tenant: string; roles: string[]; may: Right[]; means: '' | 'stub' | 'key' | 'token' | 'session'; banner: string; sign_in: string;
}
export interface LiveTicket { ticket: string; expires_at_ms: number }
export type KeyScope = 'ingest' | 'read';
export interface ApiKeyRequest { name: string; scopes: KeyScope[]; expires_at_ms: number | null }
export interface ApiKeyItem {
  id: string; name: string; scopes: KeyScope[]; created_at_ms: number; created_by: string; expires_at_ms: number | null; last_used_at_ms: number | null;
}
export type Outcome = 'done' | 'refused' | 'denied';
export interface AuditItem {
  id: string; at_ms: number; actor: string; origin: string; action: string; target: string; outcome: Outcome; detail: string;
  changes: { name: string; before: string; after: string }[];
}
export interface AuditPage { items: AuditItem[]; next_cursor: string | null }
export interface Problem { detail: string; reason: string; request_id: string; status: number }
export interface LiveEvent {
  type: 'subscribed' | 'unsubscribed' | 'event' | 'gap' | 'error' | 'pong'; topic: string; seq: number; missed: number;
  data: unknown; reason: string; message: string;
}

export type ModelKind = 'peers' | 'group-forest' | 'window-forest' | 'deep-forecaster';
export interface Lineage {
  selector: string; series: number; samples: number; start_ms: number; end_ms: number; parent: number | null; code: string; seed: number; actor: string;
}
export interface ModelVersionItem {
  name: string; version: number; kind: ModelKind; combine: 'either' | 'both'; state: 'shadow' | 'promoted' | 'retired'; sha256: string; size: number;
  created_at_ms: number; promoted_at_ms: number | null; lineage: Lineage; metrics: Record<string, number>;
}
/** A version that scores now; `left_out` counts the series that it does not model, by reason. */
export interface ModelWork { version: number; rows: number; odd_rows: number; drift: number | null; tenths: number[]; left_out: Record<string, number> }
export interface ModelItem { name: string; kind: ModelKind; promoted: ModelWork | null; shadow: ModelWork | null; versions: ModelVersionItem[] }
export interface ModelList { detector: { name: string; version: number; series: number; learning: number }; items: ModelItem[] }
export interface TrialItem {
  name: string; version: number; start_ms: number; end_ms: number; alerts_now: number; alerts_then: number; confirmed: number; lost: string[]; sooner: number;
}
export interface TrainingRequest { name: string; kind: ModelKind; selector: string; by: string[]; combine: string; start_ms: number; end_ms: number }
export interface TrainingRunItem {
  id: string; name: string; kind: ModelKind; selector: string; state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled'; progress: number;
  message: string; actor: string; asked_at_ms: number; started_at_ms: number | null; ended_at_ms: number | null; version: number | null;
}
