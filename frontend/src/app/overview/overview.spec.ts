import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, anAnomaly, anIncident, anOverview } from '../../testing/things';

describe('the overview', () => {
  beforeEach(() => vi.useFakeTimers({ now: AT_MS + 60_000, toFake: ['Date', 'setInterval'] }));
  afterEach(() => vi.useRealTimers());

  it('says that it looks while it does', async () => {
    const page = await Page.open('/', { 'GET overview': NEVER });
    expect(page.find('h1').textContent).toBe('Looking…');
    expect(page.text).toContain('Reading…');
  });

  it('says what went wrong, and does not go on as if it were reading', async () => {
    const page = await Page.open('/', { 'GET overview': new Refusal(503, 'The store does not answer.') });
    expect(page.find('[role=alert]').textContent).toBe('The store does not answer.');
    expect(page.text).not.toContain('Reading…');
  });

  it('shows how to send the first sample while there is none', async () => {
    const page = await Page.open('/', { 'GET overview': anOverview({ series: 0 }) });
    expect(page.find('h1').textContent).toBe('Waiting for the first sample');
    expect(page.texts('pre')[0]).toContain(`curl -X POST ${location.origin}/api/v1/samples`);
    expect(page.texts('pre')[1]).toContain(`- url: ${location.origin}/prometheus/api/v1/write`);
  });

  it.each([
    ['Nothing is wrong', anOverview()],
    ['Learning', anOverview({ learning: 43 })],
    ['1 open incident', anOverview({ open_incidents: [anIncident()] })],
    ['2 open incidents', anOverview({ open_incidents: [anIncident(), anIncident({ id: 'i2' })] })],
  ])('comes to the verdict: %s', async (verdict, overview) => {
    const page = await Page.open('/', { 'GET overview': overview });
    expect(page.find('h1').textContent).toBe(verdict);
  });

  it('tells whether somebody has taken the incidents', async () => {
    const taken = anIncident({ state: 'acknowledged', acknowledged_by: 'ada' });
    expect((await Page.open('/', { 'GET overview': anOverview({ open_incidents: [taken] }) })).text).toContain('Somebody has every one of them');
  });

  it('shows counters, anomalies with the worst first, and incidents', async () => {
    const anomalies = [anAnomaly({ id: 'x', name: 'mild', score: 0.3 }), anAnomaly({ id: 'y', name: 'bad', score: 0.9 })];
    const page = await Page.open('/', { 'GET overview': anOverview({ series: 12_345, anomalies, open_incidents: [anIncident()] }) });
    expect(page.texts('dd')[0]).toBe('12.3k');
    expect(page.texts('.row .lines')).toEqual(['bad', 'mild', 'CPU is busy on host a']);
    expect(page.text).toContain('2 ongoing');
    expect(page.text).toContain('usually 0.2 to 0.6');
    expect(page.find<HTMLAnchorElement>('.row').getAttribute('href')).toBe('/series/00000000000000aa');
  });

  it('says nothing of publishing where nothing is published', async () => {
    expect((await Page.open('/', { 'GET overview': anOverview() })).text).not.toContain('Publishing lag');
  });

  it('shows how far publishing is behind', async () => {
    const page = await Page.open('/', { 'GET overview': anOverview({ publishing_lag_ms: 90_000 }) });
    expect(page.texts('dt')).toContain('Publishing lag');
    expect(page.texts('dd.odd')).toEqual([page.texts('dd')[page.texts('dt').indexOf('Publishing lag')]]);
  });

  it('shows the worst thirty of many, and leads to the others', async () => {
    const anomalies = Array.from({ length: 45 }, (_, i) => anAnomaly({ id: `n${i}`, score: i / 45 }));
    const page = await Page.open('/', { 'GET overview': anOverview({ anomalies }) });
    expect(page.all('.meter')).toHaveLength(30);
    expect(page.text).toContain('And 15 milder ones: all series by score');
    expect(page.text).toContain('45 ongoing');
  });

  it('follows the ticks, and forgets an anomaly some minutes after it ended', async () => {
    const page = await Page.open('/', { 'GET overview': anOverview() });
    page.sockets.newest.accept();
    page.sockets.newest.publish('overview', 1, { ...anOverview(), open_incidents: 0, anomalies: [anAnomaly({ name: 'brief', end_ms: AT_MS + 50_000 })] });
    await page.settle();
    expect(page.text).toContain('brief');
    expect(page.text).toContain('ended 10 s ago');
    vi.advanceTimersByTime(300_000);
    await page.settle();
    expect(page.text).not.toContain('brief');
  });

  it('reads again after a gap', async () => {
    const page = await Page.open('/', { 'GET overview': anOverview() });
    page.sockets.newest.accept();
    page.answers['GET overview'] = anOverview({ open_incidents: [anIncident()] });
    page.sockets.newest.speak({ type: 'gap', topic: 'overview', seq: 3, missed: 3 });
    await page.settle();
    expect(page.find('h1').textContent).toBe('1 open incident');
  });

  it('does not claim that nothing is wrong when it has not heard for long', async () => {
    const page = await Page.open('/', { 'GET overview': anOverview() });
    page.sockets.newest.accept();
    page.sockets.newest.publish('overview', 1, { ...anOverview(), open_incidents: 0 });
    page.sockets.newest.close();
    await page.settle();
    expect(page.find('h1').textContent).toBe('Nothing is wrong');
    vi.advanceTimersByTime(12_000);
    await page.settle();
    expect(page.find('h1').textContent).toBe('Nobody knows');
    expect(page.text).toContain('below is what was known 12 s ago');
  });
});
