import {
  AlertItem, AnomalyItem, AuditItem, Contributor, EvidenceItem, IncidentItem, LessonItem, OptionItem, OverviewMessage, PolicyItem, ProposalItem, ReplayReport, SeriesItem, Session, WhyCard, Window,
} from '../app/api/messages';

/** Things as the API gives them, each plausible; a test names what matters to it. */
export const AT_MS = Date.UTC(2026, 10, 23, 12);

export function aSeries(part: Partial<SeriesItem> = {}): SeriesItem {
  return {
    fingerprint: '00000000000000aa', name: 'cpu', labels: { __name__: 'cpu', host: 'a' }, status: 'ok', at_ms: AT_MS, value: 0.5, score: 0.1, tier: 'full', tier_reason: 'within full_series',
    expected: 0.4, lower: 0.2, upper: 0.6, ...part,
  };
}

export function anAnomaly(part: Partial<AnomalyItem> = {}): AnomalyItem {
  return {
    id: 'n1', fingerprint: '00000000000000aa', name: 'cpu', labels: { __name__: 'cpu', host: 'a' }, start_ms: AT_MS, end_ms: null,
    peak_at_ms: AT_MS, score: 0.7, rarity: 'once in about 30 d', value: 0.99, expected: 0.4, lower: 0.2, upper: 0.6, ...part,
  };
}

export function aContributor(part: Partial<Contributor> = {}): Contributor {
  return {
    fingerprint: '00000000000000aa', name: 'cpu', labels: { __name__: 'cpu', host: 'a' }, at_ms: AT_MS, value: 0.99, score: 0.7,
    rarity: 'once in about 30 d', expected: 0.4, lower: 0.2, upper: 0.6, ...part,
  };
}

export function anAlert(part: Partial<AlertItem> = {}): AlertItem {
  return {
    id: 'a1', policy_id: 'p1', policy_name: 'CPU is busy', policy_version: 3, group: { host: 'a' }, state: 'firing', severity: 'critical',
    summary: 'Look at the queue first.', reason: 'cpu{host="a"} is 0.99, above 0.9', pending_at_ms: AT_MS, firing_at_ms: AT_MS + 10_000,
    resolved_at_ms: null, changed_at_ms: AT_MS + 10_000, incident_id: 'i1', breaching: 1, peak_score: 0.7, contributors: [aContributor()], silenced_by: null, ...part,
  };
}

export function aWhyCard(part: Partial<WhyCard> = {}): WhyCard {
  return {
    event: anAnomaly(), detector: 'robust-seasonal/3', parts: { level: 0.35, trend: 0, hour: 0.06, weekday: 0, rest: -0.01, history_ms: 86_400_000, hour_of_day: 14, day_of_week: 'Tuesday', zone: 'Europe/Berlin' },
    recurrence: { period_ms: 1_200_000, stretch_ms: 280_000, times: 3, lower: 0.1, upper: 0.9, lowest: 0.1, highest: 0.2, words: 'It comes again about every 20 min. In the same 4 min 40 s of the last 3 times it was between 0.1 and 0.9, this time between 0.1 and 0.2.' },
    resembles: { anomaly: anAnomaly({ id: 'n0', start_ms: AT_MS - 86_400_000 }), incident_id: 'i0', verdict: 'false' },
    along: [{ anomaly: anAnomaly({ id: 'n2', fingerprint: '00000000000000bb', name: 'disk' }), correlation: -0.9, lag_ms: -120_000 }],
    spared: [{ setting: 'raise_at', spares_at: 0.99, fires_at: 0.9899, words: 'It would not have fired then with a limit of 0.99 or more instead of 0.9.' }], ...part,
  };
}

export function anEntry(part: Partial<AuditItem> = {}): AuditItem {
  return {
    id: '2', at_ms: AT_MS, actor: 'ada', origin: '203.0.113.9', action: 'put_policy', target: 'CPU is busy', outcome: 'done', detail: '',
    changes: [{ name: 'for_ms', before: '0', after: '5000' }, { name: 'summary', before: '', after: '"Look"' }], ...part,
  };
}

export function anIncident(part: Partial<IncidentItem> = {}): IncidentItem {
  return {
    id: 'i1', title: 'CPU is busy on host a', state: 'open', severity: 'critical', place: { host: 'a' }, alert_ids: ['a1'], firing: 1,
    opened_at_ms: AT_MS, changed_at_ms: AT_MS, acknowledged_at_ms: null, acknowledged_by: '', resolved_at_ms: null, resolved_by: '',
    verdict: null, notes: [], ...part,
  };
}

export function aPolicy(part: Partial<PolicyItem> = {}): PolicyItem {
  return {
    id: 'p1', version: 3, name: 'CPU is busy', matchers: [{ label: '__name__', op: '=', value: 'cpu' }],
    condition: { kind: 'threshold', op: 'above', raise_at: 0.9, clear_at: 0.8 }, by: ['host'], for_ms: 10_000, keep_firing_for_ms: 30_000,
    severity: 'critical', summary: 'Look at the queue first.', receivers: ['on-call'], enabled: true, ...part,
  };
}

export function aSession(part: Partial<Session> = {}): Session {
  return { subject: 'ada', tenant: 'default', roles: ['admin'], may: ['read', 'act', 'administer', 'send'], means: 'session', banner: '', sign_in: '', ...part };
}

/** Somebody who may read and nothing else. */
export const VIEWER = aSession({ subject: 'vera', roles: ['viewer'], may: ['read'], sign_in: '/api/v1/login' });

export function anEvidence(part: Partial<EvidenceItem> = {}): EvidenceItem {
  return {
    start_ms: AT_MS - 86_400_000, end_ms: AT_MS, alerts: 19, alerts_after: 5, removed: 14, unwanted: 14, unwanted_removed: 14, confirmed: 6, lost: [],
    unproven: 0, delay_ms: 0, pages: [{ receiver: 'on-call', before: 19, after: 5 }], ...part,
  };
}

export function anOption(part: Partial<OptionItem> = {}): OptionItem {
  return {
    setting: 'raise_at', value: 0.95, direction: null, matcher: null, text: 'a limit of 0.95 instead of 0.9', harmless: true, policy: aPolicy({ version: 4 }),
    evidence: anEvidence(), ...part,
  };
}

export function aProposal(part: Partial<ProposalItem> = {}): ProposalItem {
  return { policy_id: 'p1', version: 3, start_ms: AT_MS - 86_400_000, end_ms: AT_MS, unwanted: 14, confirmed: 6, options: [anOption()], ...part };
}

export function aLesson(part: Partial<LessonItem> = {}): LessonItem {
  const after = aPolicy({ version: 4, condition: { kind: 'threshold', op: 'above', raise_at: 0.95, clear_at: 0.8 } });
  return { at_ms: AT_MS, actor: 'ada', before: aPolicy(), after, evidence: anEvidence(), ...part };
}

export function anOverview(part: Partial<OverviewMessage> = {}): OverviewMessage {
  return {
    at_ms: AT_MS, started_at_ms: AT_MS - 60_000, version: '0.1.0', series: 43, learning: 0, silent: 0, samples_total: 1000, samples_per_s: 43,
    lag_ms: 100, firing_alerts: 0, open_incidents: [], anomalies: [], publishing_lag_ms: null, ...part,
  };
}

export function aWindow(part: Partial<Window> = {}): Window {
  return {
    series: aSeries(), start_ms: AT_MS, end_ms: AT_MS + 3000, resolution_ms: 0, rolled_before_ms: null, rollup_ms: null, anomalies: [], at_ms: [AT_MS, AT_MS + 1000, AT_MS + 2000],
    value: [0.4, 0.5, 0.99], expected: [0.4, 0.4, 0.4], lower: [0.2, 0.2, 0.2], upper: [0.6, 0.6, 0.6], score: [0, 0.1, 0.7], ...part,
  };
}

export function aReport(part: Partial<ReplayReport> = {}): ReplayReport {
  return { start_ms: AT_MS, end_ms: AT_MS + 86_400_000, samples: 3_456_789, alerts: [], pages: [], alerts_live: 0, only_replayed: [], only_live: [], ...part };
}
