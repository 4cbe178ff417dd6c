import { Condition, Direction, Matcher, PolicyItem, PolicyRequest, Severity } from '../api/messages';

const DAY_MS = 86_400_000;
const MAX_S = 2_592_000;
const MAX_MATCHERS = 20;
const METRIC = /^[a-zA-Z_:][\w:.]*$/;
const LABEL = /^[a-zA-Z_][\w.]*$/;
const ESCAPES: Record<string, string> = { '"': '"', '\\': '\\', n: '\n', t: '\t' };

/** A policy as the form holds it: text and seconds instead of lists and milliseconds. */
export interface Draft {
  name: string; selector: string; kind: Condition['kind']; op: 'above' | 'below'; direction: Direction; raise_at: number; clear_at: number | null;
  window_s: number; after_s: number; pages: number; per_days: number; limit: number; within_s: number; percent: number; by: string; for_s: number; keep_s: number; severity: Severity; summary: string;
  receivers: string[]; enabled: boolean;
}

export function emptyDraft(): Draft {
  return {
    name: '', selector: '', kind: 'anomaly_score', op: 'above', direction: 'either', raise_at: 0.35, clear_at: null, window_s: 300, after_s: 120, pages: 2, per_days: 7, limit: 95, within_s: 14_400, percent: 90, by: 'host',
    for_s: 10, keep_s: 30, severity: 'warning', summary: '', receivers: [], enabled: true,
  };
}

export function draftOf(policy: PolicyItem): Draft {
  const one = policy.condition;
  return {
    ...emptyDraft(), name: policy.name, selector: matcherText(policy.matchers), kind: one.kind, by: policy.by.join(', '),
    for_s: policy.for_ms / 1000, keep_s: policy.keep_firing_for_ms / 1000, severity: policy.severity, summary: policy.summary,
    receivers: [...policy.receivers], enabled: policy.enabled,
    ...('op' in one ? { op: one.op } : {}), ...('direction' in one && one.direction ? { direction: one.direction } : {}), ...('raise_at' in one ? { raise_at: one.raise_at, clear_at: one.clear_at ?? null } : {}),
    ...('limit' in one ? { limit: one.limit, within_s: one.within_ms / 1000, percent: one.probability * 100 } : {}),
    ...('pages' in one ? { pages: one.pages, per_days: one.per_ms / DAY_MS } : {}),
    ...('after_ms' in one ? { after_s: one.after_ms / 1000 } : {}), ...('window_ms' in one ? { window_s: one.window_ms / 1000 } : {}),
  };
}

export function requestOf(draft: Draft): PolicyRequest {
  return {
    name: draft.name.trim(), matchers: parseMatchers(draft.selector), condition: conditionOf(draft),
    by: draft.by.split(',').map((label) => label.trim()).filter(Boolean), for_ms: Math.round(draft.for_s * 1000),
    keep_firing_for_ms: Math.round(draft.keep_s * 1000), severity: draft.severity, summary: draft.summary, receivers: draft.receivers,
    enabled: draft.enabled,
  };
}

function conditionOf(draft: Draft): Condition {
  const { kind, op, direction, raise_at } = draft;
  const clear = isNumber(draft.clear_at) ? { clear_at: draft.clear_at } : {};
  switch (kind) {
    case 'threshold': return { kind, op, raise_at, ...clear };
    case 'anomaly_score': return { kind, raise_at, ...clear, direction };
    case 'time_to_limit': return { kind, op, limit: draft.limit, within_ms: Math.round(draft.within_s * 1000), probability: draft.percent / 100 };
    case 'page_budget': return { kind, pages: draft.pages, per_ms: Math.round(draft.per_days * DAY_MS), direction };
    case 'absence': return { kind, after_ms: Math.round(draft.after_s * 1000) };
    case 'rate_of_change': return { kind, op, raise_at, window_ms: Math.round(draft.window_s * 1000), ...clear };
  }
}

/** What is wrong with a draft, by field, in sentences; the bounds are those of the server. Empty when it can be tried. */
export function mistakesOf(draft: Draft): Partial<Record<keyof Draft, string>> {
  const wrong: Partial<Record<keyof Draft, string>> = {};
  if (!draft.name.trim()) wrong.name = 'A policy needs a name.';
  try {
    parseMatchers(draft.selector);
  } catch (error) {
    wrong.selector = (error as Error).message;
  }
  const seconds = (field: 'for_s' | 'keep_s' | 'after_s' | 'window_s', least: number) => {
    if (!isNumber(draft[field]) || draft[field] < least || draft[field] > MAX_S) wrong[field] = `Between ${least} seconds and 30 days (${MAX_S}).`;
  };
  seconds('for_s', 0);
  seconds('keep_s', 0);
  if (draft.kind === 'absence') seconds('after_s', 1);
  else if (draft.kind === 'time_to_limit') Object.assign(wrong, nearingMistakes(draft));
  else if (draft.kind === 'page_budget') Object.assign(wrong, budgetMistakes(draft));
  else Object.assign(wrong, limitMistakes(draft));
  if (draft.kind === 'rate_of_change') seconds('window_s', 1);
  return wrong;
}

function nearingMistakes({ limit, within_s, percent }: Draft): Partial<Record<keyof Draft, string>> {
  return {
    ...(isNumber(limit) ? {} : { limit: 'A number is needed.' }),
    ...(isNumber(within_s) && within_s >= 60 && within_s <= 604_800 ? {} : { within_s: 'Between a minute (60) and 7 days (604800).' }),
    ...(isNumber(percent) && percent >= 5 && percent <= 95 ? {} : { percent: 'Between 5 and 95.' }),
  };
}

function budgetMistakes({ pages, per_days }: Draft): Partial<Record<keyof Draft, string>> {
  return {
    ...(Number.isInteger(pages) && pages >= 1 && pages <= 1000 ? {} : { pages: 'A whole number from 1 to 1000.' }),
    ...(isNumber(per_days) && per_days >= 1 / 24 && per_days <= 30 ? {} : { per_days: 'Between an hour (0.042) and 30 days.' }),
  };
}

function limitMistakes({ kind, op, raise_at, clear_at }: Draft): Partial<Record<keyof Draft, string>> {
  const isScore = kind === 'anomaly_score';
  if (!isNumber(raise_at)) return { raise_at: 'A number is needed.' };
  if (isScore && (raise_at <= 0 || raise_at > 1)) return { raise_at: 'A score lies above 0 and at most at 1.' };
  if (!isNumber(clear_at)) return {};
  if (isScore && clear_at <= 0) return { clear_at: 'A score lies above 0 and at most at 1.' };
  if ((isScore || op === 'above') && clear_at > raise_at) return { clear_at: 'Mended must not lie above broken.' };
  if (!isScore && op === 'below' && clear_at < raise_at) return { clear_at: 'Mended must not lie below broken.' };
  return {};
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** Matchers as Prometheus writes them. */
export function matcherText(matchers: readonly Matcher[]): string {
  const name = matchers.find((one) => one.label === '__name__' && one.op === '=' && METRIC.test(one.value));
  const rest = matchers.filter((one) => one !== name).map((one) => `${LABEL.test(one.label) ? one.label : quoted(one.label)}${one.op}${quoted(one.value)}`);
  return (name?.value ?? '') + (rest.length || !name ? `{${rest.join(',')}}` : '');
}

function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n').replace(/\t/g, '\\t')}"`;
}

/** The matchers of a selector such as `cpu{host=~"web-.*"}`; throws a sentence if it cannot be read. */
export function parseMatchers(selector: string): Matcher[] {
  const parts = /^\s*([a-zA-Z_:][\w:.]*)?\s*(?:\{(.*)\})?\s*$/s.exec(selector);
  const inside = (parts?.[2] ?? '').trim();
  if (!parts || (!parts[1] && !inside)) throw new Error('Name the series, for example host_cpu_busy_ratio{host="a"}.');
  const matchers: Matcher[] = parts[1] ? [{ label: '__name__', op: '=', value: parts[1] }] : [];
  const each = /\s*(?:([a-zA-Z_][\w.]*)|"((?:[^"\\]|\\.)+)")\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,\s*|$)/gsy;
  while (each.lastIndex < inside.length) {
    const at = each.lastIndex;
    const found = each.exec(inside);
    if (!found) throw new Error(`The selector cannot be read at “${inside.slice(at, at + 20)}”.`);
    matchers.push({ label: found[1] ?? plain(found[2]), op: found[3] as Matcher['op'], value: plain(found[4]) });
  }
  if (matchers.length > MAX_MATCHERS) throw new Error(`A policy has at most ${MAX_MATCHERS} matchers, these are ${matchers.length}.`);
  if (matchers.every((one) => !one.value && /^=/.test(one.op))) throw new Error('At least one matcher must ask for a value, or every series would match.');
  return matchers;
}

function plain(escaped: string): string {
  return escaped.replace(/\\(.)/gs, (whole, sign: string) => {
    const meant = ESCAPES[sign];
    if (!meant) throw new Error(`“${whole}” is no escape in a selector; a backslash is written “\\\\”.`);
    return meant;
  });
}
