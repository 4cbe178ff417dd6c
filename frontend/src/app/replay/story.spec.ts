import { aReport, anAlert, AT_MS } from '../../testing/things';
import { dice } from '../../testing/dice';
import { AlertItem, PageItem } from '../api/messages';
import { difference, headline, laneName, lanesOf, span, wakes } from './story';

const HOUR = 3_600_000;
const page = (part: Partial<PageItem> = {}): PageItem => ({
  at_ms: AT_MS, receiver: 'on-call', alert_id: 'a1', policy_name: 'CPU is busy', state: 'firing', group: { host: 'a' }, reason: 'because', ...part,
});
/** An alert of a host that fired in some hours after the begin. */
const fired = (host: string, from: number, to: number | null, id = `${host}${from}`): AlertItem =>
  anAlert({ id, group: { host }, pending_at_ms: AT_MS + from * HOUR, firing_at_ms: AT_MS + from * HOUR, resolved_at_ms: to === null ? null : AT_MS + to * HOUR });

describe('the headline of a replay', () => {
  it('does not say that all is well when nothing is known', () => {
    expect(headline(aReport({ samples: 0 }))).toMatchObject({ kind: 'learning', title: 'Nothing is known of this time' });
  });
  it('says that nobody would have been woken, and on how much that rests', () => {
    const said = headline(aReport());
    expect(said).toMatchObject({ kind: 'ok', title: 'Nobody would have been woken' });
    expect(said.detail).toBe('No alert would have been raised. 3\u202f456\u202f789 samples in 1 d were looked at.');
  });
  it('tells alerts that nobody hears of from silence', () => {
    const said = headline(aReport({ alerts: [anAlert()] }));
    expect(said).toMatchObject({ kind: 'warning', title: 'Nobody would have been woken' });
    expect(said.detail).toMatch(/^1 alert would have been raised, and shown here only: no receiver is told/);
  });
  it('says who would have been woken and how often, without the messages that it is over', () => {
    const pages = [page(), page({ receiver: 'boss' }), page(), page({ state: 'resolved' })];
    expect(headline(aReport({ alerts: [anAlert(), anAlert()], pages }))).toMatchObject({ kind: 'critical', title: 'Woken: on-call 2 times, boss once' });
    expect(wakes(pages)).toHaveLength(3);
  });
});

describe('the lanes of a replay', () => {
  it('have a bar for each alert, from when it fired to when it was over', () => {
    const report = aReport({ alerts: [fired('a', 6, 12), fired('b', 0, 24), fired('a', 18, null)] });
    const lanes = lanesOf(report);
    expect(lanes.map((lane) => lane.name)).toEqual(['host=a', 'host=b']);
    expect(lanes[0].bars.map(({ left, width }) => [left, width])).toEqual([[25, 25], [75, 25]]);
  });
  it('name the policy where there are several', () => {
    expect(laneName(anAlert({ group: {} }), false)).toBe('all series');
    expect(laneName(anAlert({ group: {} }), true)).toBe('CPU is busy');
    expect(laneName(anAlert({ group: { host: 'a', mode: 'b' } }), true)).toBe('CPU is busy · host=a mode=b');
  });
  it('never leave the picture, whatever an alert says of its times', () => {
    const roll = dice(5);
    for (let turn = 0; turn < 500; turn++) {
      const [one, two] = [roll.below(60) - 20, roll.below(60) - 20].sort((x, y) => x - y);
      const [bar] = lanesOf(aReport({ alerts: [fired('a', one, roll.below(3) ? two : null)] }))[0].bars;
      expect(bar.left).toBeGreaterThanOrEqual(0);
      expect(bar.width).toBeGreaterThanOrEqual(0);
      expect(bar.left + bar.width).toBeLessThanOrEqual(100.0001);
    }
  });
  it('count an alert that never fired from when it was pending', () => {
    expect(span(anAlert({ firing_at_ms: null }), 9)).toEqual([AT_MS, 9]);
  });
});

describe('the difference from what was', () => {
  const end = AT_MS + 24 * HOUR;
  it('is none between equals', () => {
    const alerts = [fired('a', 1, 2), fired('b', 1, null)];
    expect(difference(alerts, alerts, end)).toEqual({ same: 2, fresh: [], spared: [] });
  });
  it('takes an alert that fires a little earlier for the same', () => {
    expect(difference([fired('a', 1, 3)], [fired('a', 2, 4, 'real')], end)).toEqual({ same: 1, fresh: [], spared: [] });
  });
  it('tells what is new from what is spared', () => {
    const [fresh, real] = [fired('a', 1, 2), fired('b', 1, 2)];
    expect(difference([fresh], [real], end)).toEqual({ same: 0, fresh: [fresh], spared: [real] });
    const later = fired('a', 5, 6);
    expect(difference([fresh], [later], end)).toEqual({ same: 0, fresh: [fresh], spared: [later] });
  });
  it('does not count what was only pending as something that fired', () => {
    expect(difference([], [anAlert({ firing_at_ms: null })], end).spared).toEqual([]);
  });
  it('does not mind the order of the labels', () => {
    const [one, two] = [anAlert({ group: { a: '1', b: '2' } }), anAlert({ group: { b: '2', a: '1' } })];
    expect(difference([one], [two], end).same).toBe(1);
  });
});
