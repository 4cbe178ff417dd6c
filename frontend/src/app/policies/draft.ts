import { Condition, Matcher, PolicyItem, PolicyRequest, Severity } from '../api/messages';

/** A policy as the form holds it: text and seconds instead of lists and milliseconds. */
export interface Draft {
  name: string; selector: string; kind: Condition['kind']; op: 'above' | 'below'; raise_at: number; clear_at: number | null;
  window_s: number; after_s: number; by: string; for_s: number; keep_s: number; severity: Severity; summary: string;
  receivers: string[]; enabled: boolean;
}

export function emptyDraft(): Draft {
  return {
    name: '', selector: '', kind: 'anomaly_score', op: 'above', raise_at: 0.35, clear_at: null, window_s: 300, after_s: 120, by: 'host',
    for_s: 10, keep_s: 30, severity: 'warning', summary: '', receivers: [], enabled: true,
  };
}

export function draftOf(policy: PolicyItem): Draft {
  const one = policy.condition;
  return {
    ...emptyDraft(), name: policy.name, selector: matcherText(policy.matchers), kind: one.kind, by: policy.by.join(', '),
    for_s: policy.for_ms / 1000, keep_s: policy.keep_firing_for_ms / 1000, severity: policy.severity, summary: policy.summary,
    receivers: [...policy.receivers], enabled: policy.enabled,
    ...('op' in one ? { op: one.op } : {}), ...('raise_at' in one ? { raise_at: one.raise_at, clear_at: one.clear_at ?? null } : {}),
    ...('after_ms' in one ? { after_s: one.after_ms / 1000 } : {}), ...('window_ms' in one ? { window_s: one.window_ms / 1000 } : {}),
  };
}

export function requestOf(draft: Draft): PolicyRequest {
  return {
    name: draft.name, matchers: parseMatchers(draft.selector), condition: conditionOf(draft),
    by: draft.by.split(',').map((label) => label.trim()).filter(Boolean), for_ms: Math.round(draft.for_s * 1000),
    keep_firing_for_ms: Math.round(draft.keep_s * 1000), severity: draft.severity, summary: draft.summary, receivers: draft.receivers,
    enabled: draft.enabled,
  };
}

function conditionOf(draft: Draft): Condition {
  const { kind, op, raise_at } = draft;
  const clear = draft.clear_at === null || (draft.clear_at as unknown) === '' ? {} : { clear_at: draft.clear_at };
  switch (kind) {
    case 'threshold': return { kind, op, raise_at, ...clear };
    case 'anomaly_score': return { kind, raise_at, ...clear };
    case 'absence': return { kind, after_ms: Math.round(draft.after_s * 1000) };
    case 'rate_of_change': return { kind, op, raise_at, window_ms: Math.round(draft.window_s * 1000), ...clear };
  }
}

/** Matchers as Prometheus writes them. */
export function matcherText(matchers: readonly Matcher[]): string {
  const name = matchers.find((one) => one.label === '__name__' && one.op === '=');
  const rest = matchers.filter((one) => one !== name).map((one) => `${one.label}${one.op}"${one.value.replace(/(["\\])/g, '\\$1')}"`);
  return (name?.value ?? '') + (rest.length || !name ? `{${rest.join(',')}}` : '');
}

/** The matchers of a selector such as `cpu{host=~"web-.*"}`; throws a sentence if it cannot be read. */
export function parseMatchers(selector: string): Matcher[] {
  const parts = /^\s*([a-zA-Z_:][\w:.]*)?\s*(?:\{(.*)\})?\s*$/s.exec(selector);
  if (!parts || (!parts[1] && !parts[2])) throw new Error('Name the series, for example host_cpu_busy_ratio{host="a"}.');
  const matchers: Matcher[] = parts[1] ? [{ label: '__name__', op: '=', value: parts[1] }] : [];
  const inside = (parts[2] ?? '').trim();
  const each = /\s*([a-zA-Z_][\w.]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/gy;
  while (each.lastIndex < inside.length) {
    const at = each.lastIndex;
    const found = each.exec(inside);
    if (!found) throw new Error(`The selector cannot be read at “${inside.slice(at, at + 20)}”.`);
    matchers.push({ label: found[1], op: found[2] as Matcher['op'], value: found[3].replace(/\\(.)/g, '$1') });
  }
  return matchers;
}
