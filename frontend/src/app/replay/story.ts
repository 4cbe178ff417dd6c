import { AlertItem, PageItem, ReplayReport } from '../api/messages';
import { compact, count, duration, many, range } from '../parts/format';

/** A replay in words and pictures: who would have been woken, when, and how that differs from what was. */
export interface Headline { kind: 'ok' | 'warning' | 'critical' | 'learning'; title: string; detail: string }
export interface Bar { id: string; left: number; width: number; severity: string; words: string }
export interface Lane { name: string; bars: Bar[] }
export interface Difference { same: number; fresh: AlertItem[]; spared: AlertItem[] }

/** Which pages wake somebody: those of alerts that begin, not those that say it is over. */
export function wakes(pages: readonly PageItem[]): PageItem[] {
  return pages.filter((page) => page.state === 'firing');
}

/** The answer to "who would have been woken?" in one sentence, and what it rests on in another. */
export function headline(report: ReplayReport): Headline {
  const looked = `${many(report.samples, 'sample')} in ${duration(report.end_ms - report.start_ms)} were looked at.`;
  if (!report.samples) return { kind: 'learning', title: 'Nothing is known of this time', detail: 'No sample was received in it, so there is nothing to try a policy on.' };
  if (!report.alerts.length) return { kind: 'ok', title: 'Nobody would have been woken', detail: `No alert would have been raised. ${looked}` };
  const calls = wakes(report.pages);
  const raised = `${many(report.alerts.length, 'alert')} would have been raised`;
  if (!calls.length) return { kind: 'warning', title: 'Nobody would have been woken', detail: `${raised}, and shown here only: no receiver is told. ${looked}` };
  const people = [...new Set(calls.map((page) => page.receiver))].map((name) => {
    const times = calls.filter((page) => page.receiver === name).length;
    return `${name} ${times === 1 ? 'once' : `${count(times)} times`}`;
  });
  return { kind: 'critical', title: `Woken: ${people.join(', ')}`, detail: `${raised}. ${looked}` };
}

/** Name of what an alert is about; alerts of one name share a lane. */
export function laneName(alert: AlertItem, withPolicy: boolean): string {
  const group = Object.entries(alert.group).map(([name, value]) => `${name}=${value}`).join(' ');
  return withPolicy ? [alert.policy_name, group].filter(Boolean).join(' · ') : group || 'all series';
}

/** Why an alert fired. Its own reason says so while it fires; afterwards that says why it is over, and its worst series tells. */
export function why(alert: AlertItem): string {
  const worst = alert.contributors[0];
  if (alert.state === 'firing' || !worst) return alert.reason;
  const usual = worst.lower === null ? '' : `, usually ${range(worst.lower, worst.upper)}`;
  return `${worst.name} ${worst.value === null ? 'was silent' : `was ${compact(worst.value)}`}${usual}; ${alert.reason}`;
}

/** Alerts as bars over the time of a replay, in percent of it; the busiest lanes first. */
export function lanesOf(report: ReplayReport, withPolicy = false): Lane[] {
  const lanes = new Map<string, Bar[]>();
  for (const alert of report.alerts) {
    const name = laneName(alert, withPolicy);
    lanes.set(name, [...(lanes.get(name) ?? []), barOf(alert, report)]);
  }
  return [...lanes].map(([name, bars]) => ({ name, bars })).sort((a, b) => b.bars.length - a.bars.length || a.name.localeCompare(b.name));
}

function barOf(alert: AlertItem, { start_ms, end_ms }: ReplayReport): Bar {
  const [begin, end] = span(alert, end_ms).map((at) => Math.min(Math.max(at, start_ms), end_ms));
  const share = 100 / Math.max(1, end_ms - start_ms);
  return { id: alert.id, left: (begin - start_ms) * share, width: (end - begin) * share, severity: alert.severity, words: why(alert) };
}

/** From when to when an alert fired; one that has not ended lasts to the end. */
export function span(alert: AlertItem, end_ms: number): [number, number] {
  return [alert.firing_at_ms ?? alert.pending_at_ms, alert.resolved_at_ms ?? end_ms];
}

/**
 * How replayed alerts differ from those that really fired. Two are the same if they are about the same group and fired
 * at the same time for a while: a draft that fires a little earlier is no other alert.
 */
export function difference(replayed: readonly AlertItem[], real: readonly AlertItem[], end_ms: number): Difference {
  const fired = real.filter((one) => one.firing_at_ms !== null);
  const meets = (one: AlertItem) => (other: AlertItem) => {
    const [begin, end] = span(one, end_ms), [from, to] = span(other, end_ms);
    return key(one) === key(other) && begin <= to && from <= end;
  };
  const fresh = replayed.filter((one) => !fired.some(meets(one)));
  return { same: replayed.length - fresh.length, fresh, spared: fired.filter((one) => !replayed.some(meets(one))) };
}

function key(alert: AlertItem): string {
  return JSON.stringify(Object.entries(alert.group).sort(([a], [b]) => (a < b ? -1 : 1)));
}
