import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, aSeries, aWhyCard, aWindow, anAnomaly, anOverview } from '../../testing/things';
import { SeriesItem } from '../api/messages';

const found = (...items: SeriesItem[]) => ({ items, total: items.length, next_cursor: null });

describe('the table of series', () => {
  it('is read', async () => expect((await Page.open('/explore', { 'GET series': NEVER })).text).toContain('Reading…'));
  it('is empty on a new installation', async () => expect((await Page.open('/explore', { 'GET series': found() })).text).toContain('No series yet'));
  it('finds nothing for some words', async () => expect((await Page.open('/explore?q=cpx', { 'GET series': found() })).text).toContain('No series has these words.'));

  it('cannot be read', async () => {
    const page = await Page.open('/explore?q={a=', { 'GET series': new Refusal(400, 'The selector has no end.') });
    expect(page.find('[role=alert]').textContent).toBe('The selector has no end.');
    expect(page.text).not.toContain('Reading…');
  });

  it('shows value, range, status and score of each', async () => {
    const silent = aSeries({ name: 'disk', status: 'silent', value: null, lower: null, upper: null, score: 0 });
    const page = await Page.open('/explore', { 'GET series': found(aSeries(), silent) });
    expect(page.texts('tbody td')).toEqual(['cpu host=a', '✓ok', '0.5', '0.2 to 0.6', '0.10', 'disk host=a', '○silent', '–', '–', '0.00']);
    expect(page.text).toContain('2 series');
  });

  it('asks for words as words and for a selector as a selector, and keeps them in the address', async () => {
    const page = await Page.open('/explore?q=busy', { 'GET series': found() });
    expect(page.find<HTMLInputElement>('input').value).toBe('busy');
    expect(page.asked[0].params.get('q')).toBe('busy');
    await page.fill('input', 'cpu{host="a"}');
    expect(page.asked.at(-1)?.params.get('match[]')).toBe('cpu{host="a"}');
  });

  it('is sorted by its headings, and the address keeps it', async () => {
    const page = await Page.open('/explore?order=-score', { 'GET series': found(aSeries({ name: 'a', score: 0.1 }), aSeries({ name: 'b', fingerprint: 'b', score: 0.9 })) });
    expect(page.texts('tbody b')).toEqual(['b', 'a']);
    expect(page.find('th[aria-sort]').getAttribute('aria-sort')).toBe('descending');
    await page.click('Score ↓');
    expect(page.texts('tbody b')).toEqual(['a', 'b']);
    await page.click('Score ↑');
    expect(page.all('th[aria-sort]')).toHaveLength(0);
  });

  it('says that it sorts only what it shows, and shows more on demand', async () => {
    const page = await Page.open('/explore?order=-value', { 'GET series': { items: [aSeries()], total: 2345, next_cursor: 'c' } });
    expect(page.text).toContain('1 of 2\u202f345 series'.replace('\u202f', ' '));
    expect(page.text).toContain('Sorted among the 1 that are shown');
    await page.click('Show more');
    expect(page.asked.at(-1)?.params.get('limit')).toBe('300');
  });
});

describe('a series', () => {
  const url = '/series/00000000000000aa', line = 'GET series/00000000000000aa/window';

  it('is read', async () => expect((await Page.open(url, { [line]: NEVER })).all('.skeleton')).toHaveLength(2));
  it('is not there', async () => expect((await Page.open(url, { [line]: new Refusal(404, 'There is no such series.') })).text).toBe('There is no such series.'));

  it('says what of it is from rollups', async () => {
    const older = aWindow({ rolled_before_ms: AT_MS + 1000, rollup_ms: 3_600_000 });
    expect((await Page.open(url, { [line]: older })).text).toContain('samples are forgotten: shown are the lowest and highest of every 1 h');
  });

  it('says nothing of rollups where all is from samples', async () => expect((await Page.open(url, { [line]: aWindow() })).text).not.toContain('forgotten'));

  it.each([
    ['cheap', 'cheap detector: by rule'],
    ['none', 'stored, not scored: by rule'],
  ] as const)('says that its tier is %s, and why', async (tier, said) => {
    const page = await Page.open(url, { [line]: aWindow({ series: aSeries({ tier, tier_reason: 'by rule' }) }) });
    expect(page.text).toContain(said);
  });

  it('says nothing of its tier when it is watched in full', async () =>
    expect((await Page.open(url, { [line]: aWindow() })).text).not.toContain('within full_series'));

  it('has no samples in a stretch of time', async () => {
    const empty = aWindow({ at_ms: [], value: [], expected: [], lower: [], upper: [], score: [] });
    const page = await Page.open(url, { [line]: empty });
    expect(page.text).toContain('No samples in this stretch of time');
    expect(page.text).toContain('Nothing unusual in this time.');
  });

  it('shows its newest value, its chart and its anomalies, and names the page', async () => {
    const page = await Page.open(url, { [line]: aWindow({ anomalies: [anAnomaly({ end_ms: AT_MS + 90_000 })] }) });
    for (const words of ['cpu', 'host=a', '0.99 usually 0.2 to 0.6', 'once in about 30 d', 'for 1 min']) expect(page.text).toContain(words);
    expect(page.all('q-chart canvas')).toHaveLength(2);
    expect(document.title).toBe('cpu · Quantum');
  });

  it('draws a forecast when asked to, says when a limit is reached and how far to trust it, and hides it again', async () => {
    const path = 'GET series/00000000000000aa/forecast', later = [AT_MS + 60_000, AT_MS + 120_000];
    const ahead = {
      series: aSeries(), from_ms: AT_MS, quantile: 0.9, history_ms: 86_400_000, at_ms: later, expected: [0.5, 0.6], lower: [0.4, 0.5], upper: [0.6, 0.7],
      models: ['trend', 'trend'], held: [0.92, 0.9], tried: [100, 100], words: 'reaches 0.9 in 1 h (90 % band: 50 min to 2 h)', reached: null,
    };
    const page = await Page.open(url, { [line]: aWindow(), [path]: ahead });
    await page.fill('[name=horizon]', '21600000');
    await page.fill('[name=limit]', '0.9');
    await page.submit('form');
    expect([page.requests(path)[0].params.get('horizon_ms'), page.requests(path)[0].params.get('limit')]).toEqual(['21600000', '0.9']);
    for (const words of ['reaches 0.9 in 1 h', 'Tried on 1 d of its past: 91 % of such bands held, 90 % should.']) expect(page.text).toContain(words);
    await page.click('Hide');
    expect(page.text).not.toContain('reaches 0.9');
    page.answers[path] = { ...ahead, lower: [null, null], upper: [null, null], held: [null, null], tried: [0, 0], words: '' };
    await page.fill('[name=limit]', '');
    await page.submit('form');
    expect(page.requests(path)[1].params.has('limit')).toBe(false);
    expect(page.text).toContain('Too little history to draw a band.');
    page.answers[path] = new Refusal(400, 'It needs more history.');
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toBe('It needs more history.');
  });

  it('explains an anomaly when asked to, and says so when it cannot', async () => {
    const page = await Page.open(url, { [line]: aWindow({ anomalies: [anAnomaly()] }), 'GET series/00000000000000aa/why': new Refusal(404, 'It is forgotten.') });
    await page.click('Why');
    expect(page.find('[role=alert]').textContent).toBe('It is forgotten.');
    page.answers['GET series/00000000000000aa/why'] = aWhyCard({ spared: [] });
    await page.click('Why');
    expect(page.requests('GET series/00000000000000aa/why')[0].params.get('at_ms')).toBe(String(AT_MS));
    expect(page.find('q-why').textContent).toContain('0.4 was expected');
    expect(page.all('[role=alert]')).toHaveLength(0);
  });

  it('offers its samples as a table, the newest first', async () => {
    const page = await Page.open(url, { [line]: aWindow() });
    await page.click('Show as table');
    expect(page.texts('.scroll tbody td.number').slice(0, 3)).toEqual(['0.99', '0.2 to 0.6', '0.70']);
    expect(page.all('.scroll tbody tr')).toHaveLength(3);
  });

  it('says how long ago a silent one was heard', async () => {
    const page = await Page.open(url, { [line]: aWindow({ series: aSeries({ status: 'silent', at_ms: Date.now() - 7_200_000 }) }) });
    expect(page.text).toContain('last heard 2 h ago');
  });

  it('is live by default, for the range that the address names, and grows', async () => {
    const now = Date.now();
    const page = await Page.open(`${url}?range=1h`, { [line]: aWindow({ at_ms: [now - 2000], value: [1], expected: [1], lower: [0], upper: [2], score: [0] }) });
    const { params } = page.asked[0];
    expect(Number(params.get('end_ms')) - Number(params.get('start_ms'))).toBe(3_600_000);
    page.sockets.newest.accept();
    page.sockets.newest.publish('series:00000000000000aa', 1, { at_ms: [now - 1000], value: [7.5], expected: [1], lower: [0], upper: [2], score: [0.5] });
    await page.settle();
    expect(page.text).toContain('7.5 usually 0 to 2');
  });

  it('is unusual while an anomaly lasts, and reads that anew when one begins, grows or ends', async () => {
    const page = await Page.open(url, { [line]: aWindow({ series: aSeries({ status: 'ok' }) }) });
    const tick = (fingerprint: string) => ({ ...anOverview(), open_incidents: 0, anomalies: [anAnomaly({ fingerprint })] });
    page.answers[line] = aWindow({ series: aSeries({ status: 'unusual' }), anomalies: [anAnomaly({ fingerprint: '00000000000000aa', end_ms: null })] });
    page.sockets.newest.accept();
    page.sockets.newest.publish('overview', 1, tick('00000000000000bb'));
    await page.settle();
    expect(page.texts('q-badge')).toEqual(['✓ok']);
    page.sockets.newest.publish('overview', 2, tick('00000000000000aa'));
    await page.settle();
    expect(page.texts('q-badge')).toEqual(['▲unusual']);
  });

  it('keeps the time that the address names, and comes back to now', async () => {
    const page = await Page.open(`${url}?from=${AT_MS}&to=${AT_MS + 5000}`, { [line]: aWindow() });
    expect([page.asked[0].params.get('start_ms'), page.asked[0].params.get('end_ms')]).toEqual([String(AT_MS), String(AT_MS + 5000)]);
    expect(page.sockets.opened).toHaveLength(0);
    await page.click('Back to live');
    expect(page.sockets.opened).toHaveLength(1);
  });

  it('is moved in time without dragging, and comes back to the range that was chosen', async () => {
    const page = await Page.open(`${url}?range=6h`, { [line]: aWindow() });
    const asked = () => { const { params } = page.asked.at(-1)!; return [Number(params.get('start_ms')), Number(params.get('end_ms'))]; };
    const [from, to] = asked();
    await page.click('Earlier');
    expect(Math.abs(asked()[1] - (from + to) / 2)).toBeLessThan(3000);
    await page.click('+');
    expect(asked()[1] - asked()[0]).toBeLessThan(0.51 * (to - from));
    await page.click('Back to live');
    expect(page.find('[aria-pressed=true]').textContent).toBe('6h');
  });

  it.each(['?range=99y', '?from=yesterday', '?from=&to='])('is live for an address that makes no sense: %s', async (query) => {
    const page = await Page.open(url + query, { [line]: aWindow() });
    const { params } = page.asked[0];
    expect(Number(params.get('end_ms')) - Number(params.get('start_ms'))).toBe(900_000);
    expect(page.texts('.chip.ok')).toContain('live');
  });
});
