import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, aContributor, aWhyCard, anAlert, anAnomaly } from '../../testing/things';

describe('the list of alerts', () => {
  it('is read', async () => expect((await Page.open('/alerts', { 'GET alerts': NEVER })).text).toContain('Reading…'));

  it.each([['/alerts', 'No alert was ever raised.'], ['/alerts?state=firing', 'No alert is firing.'], ['/alerts?state=nonsense', 'No alert was ever raised.']])('of %s is empty: %s', async (url, words) => {
    expect((await Page.open(url, { 'GET alerts': { items: [], next_cursor: null } })).text).toContain(words);
  });

  it('cannot be read', async () => {
    const page = await Page.open('/alerts', { 'GET alerts': new Refusal(500) });
    expect(page.find('[role=alert]').textContent).toBe('The server answered 500.');
    expect(page.text).toContain('It could not be read.');
  });

  it('shows what, where, why and since when', async () => {
    const page = await Page.open('/alerts', { 'GET alerts': { items: [anAlert({ pending_at_ms: Date.now() - 7_200_000 })], next_cursor: null } });
    for (const words of ['CPU is busy', 'host=a', 'is 0.99, above 0.9', '2 h ago', 'critical', 'firing']) expect(page.text).toContain(words);
    expect(page.find('a.row').getAttribute('href')).toBe('/alerts/a1');
  });

  it('asks for the states that the address names, and the address follows the buttons', async () => {
    const page = await Page.open('/alerts?state=resolved', { 'GET alerts': { items: [], next_cursor: null } });
    expect(page.requests('GET alerts').at(-1)?.params.getAll('state')).toEqual(['resolved']);
    expect(page.find('[aria-pressed=true]').textContent).toBe('resolved');
    await page.click('all');
    expect(page.requests('GET alerts').at(-1)?.params.has('state')).toBe(false);
    expect(page.find('[aria-pressed=true]').textContent).toBe('all');
  });

  it('adds older ones on demand, and says so when they cannot be had', async () => {
    const page = await Page.open('/alerts', { 'GET alerts': { items: [anAlert()], next_cursor: 'c1' } });
    page.answers['GET alerts'] = new Refusal(503, 'Later.');
    await page.click('Older alerts');
    expect([page.find('[role=alert]').textContent, page.all('a.row').length]).toEqual(['Later.', 1]);
    page.answers['GET alerts'] = { items: [anAlert({ id: 'a0', policy_name: 'An older one' })], next_cursor: null };
    await page.click('Older alerts');
    expect(page.requests('GET alerts').at(-1)?.params.get('cursor')).toBe('c1');
    expect(page.all('a.row')).toHaveLength(2);
    expect(page.text).not.toContain('Older alerts');
  });

  it('reads again when one changes, and after a gap', async () => {
    const page = await Page.open('/alerts', { 'GET alerts': { items: [], next_cursor: null } });
    page.sockets.newest.accept();
    page.answers['GET alerts'] = { items: [anAlert()], next_cursor: null };
    page.sockets.newest.publish('alerts', 1, anAlert());
    await page.settle();
    expect(page.all('a.row')).toHaveLength(1);
    page.sockets.newest.speak({ type: 'gap', topic: 'alerts', seq: 2, missed: 1 });
    await page.settle();
    expect(page.requests('GET alerts')).toHaveLength(3);
  });
});

describe('the list of alerts, further down', () => {
  it('keeps the older ones that were read when something new happens, and goes on after them', async () => {
    const old = anAlert({ id: 'a0', policy_name: 'An older one', pending_at_ms: AT_MS - 9000 });
    const page = await Page.open('/alerts', { 'GET alerts': { items: [anAlert()], next_cursor: 'c1' } });
    page.answers['GET alerts'] = { items: [old], next_cursor: 'c2' };
    await page.click('Older alerts');
    page.sockets.newest.accept();
    page.answers['GET alerts'] = { items: [anAlert({ id: 'a2', policy_name: 'A new one', pending_at_ms: AT_MS + 9000 }), anAlert()], next_cursor: 'c1' };
    page.sockets.newest.publish('alerts', 1, anAlert());
    await page.settle();
    expect(page.texts('b.lines')).toEqual(['A new one host=a', 'CPU is busy host=a', 'An older one host=a']);
    await page.click('Older alerts');
    expect(page.requests('GET alerts').at(-1)?.params.get('cursor')).toBe('c2');
  });
});

describe('an alert', () => {
  const full = {
    alert: anAlert({ contributors: [aContributor()] }),
    transitions: [{ seq: 1, at_ms: AT_MS, before: null, after: 'pending', reason: 'it broke' }],
    deliveries: [{ id: 'd1', receiver: 'on-call', at_ms: AT_MS, alert_id: 'a1', alert_state: 'firing', attempts: 1, outcome: 'open', detail: 'did not answer', due_at_ms: null }],
    routed: null,
    why: aWhyCard(),
  };

  it('is read', async () => expect((await Page.open('/alerts/a1', { 'GET alerts/a1': NEVER })).all('.skeleton')).toHaveLength(1));

  it('is not there', async () => {
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': new Refusal(404, 'There is no alert a1.') });
    expect(page.text).toBe('There is no alert a1.');
  });

  it('says that nobody was told when nobody was', async () => {
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': { ...full, transitions: [], deliveries: [] } });
    expect(page.text).toContain('Its policy names no receiver, so nobody was told.');
  });

  it('says where routes led it, and why nobody was told by them', async () => {
    const steps = [{ route: 'default', outcome: 'told', why: 'it tells nobody' }, { route: 'team', outcome: 'no_match', why: 'there is no team' }];
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': { ...full, deliveries: [], routed: { receivers: [], routes: ['default'], steps, left_out: 0 } } });
    for (const words of ['Neither its policy nor a route names a receiver', 'default it tells nobody', 'team there is no team']) expect(page.text).toContain(words);
    expect(page.all('a').map((one) => one.getAttribute('href'))).toContain('/routes');
  });

  it('shows why, its series, its history, who was told, and names the page', async () => {
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': full });
    for (const words of ['Look at the queue first.', '0.99 usually 0.2 to 0.6', 'it broke', 'on-call', '1 attempt', 'being tried']) expect(page.text).toContain(words);
    expect(document.title).toBe('CPU is busy · Quantum');
    const links = page.all('a').map((one) => one.getAttribute('href'));
    expect(links).toContain('/policies?edit=p1');
    expect(links).toContain('/incidents/i1');
    expect(links).toContain(`/series/00000000000000aa?from=${AT_MS - 600_000}&to=${AT_MS + 300_000}`);
  });

  it('explains itself: parts, after what time it comes again, what would have spared it, what it resembles, what moved along', async () => {
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': full });
    expect(page.texts('q-why dl div')).toEqual(['level0.35', '14:00 to 15:00+0.06', 'detector-0.01']);
    for (const words of ['0.99 where 0.4 was expected, usually 0.2 to 0.6: once in about 30 d', 'from 1 d of its past; hours and weekdays in Europe/Berlin', 'a limit of 0.99 or more instead of 0.9', 'It comes again about every 20 min.', 'part of an incident that was judged a false alarm', 'Moved alongdisk', 'opposite, 2 min earlier', 'robust-seasonal/3']) expect(page.text).toContain(words);
    expect(page.all('q-why a').map((one) => one.getAttribute('href'))).toContain('/incidents/i0');
  });

  it('says what it does not know', async () => {
    const card = aWhyCard({ event: anAnomaly({ expected: null, lower: null, upper: null }), detector: '', parts: null, recurrence: null, resembles: null, along: [], spared: [] });
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': { ...full, why: card } });
    for (const words of ['0.99 while the series was still being learnt', 'did nothing of the kind before', 'No other series moved along']) expect(page.text).toContain(words);
    expect(page.text).not.toContain('comes again');
  });

  it('names who moved at the same time or later, and incidents that nobody judged', async () => {
    const [along] = aWhyCard().along;
    const card = aWhyCard({ along: [{ ...along, correlation: 0.8, lag_ms: 0 }, { anomaly: anAnomaly({ id: 'n3' }), correlation: 0.7, lag_ms: 60_000 }], resembles: { ...aWhyCard().resembles!, verdict: null } });
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': { ...full, why: card } });
    for (const words of ['same way, at the same time', 'same way, 1 min later', 'that nobody judged']) expect(page.text).toContain(words);
  });

  it('shows itself after the trouble of reading it is over', async () => {
    const page = await Page.open('/alerts/a1', { 'GET alerts/a1': new Refusal(503, 'Later.') });
    page.sockets.newest.accept();
    page.answers['GET alerts/a1'] = full;
    page.sockets.newest.publish('alerts', 1, anAlert({ id: 'another' }));
    await page.settle();
    expect(page.text).toContain('Later.');
    page.sockets.newest.publish('alerts', 2, anAlert());
    await page.settle();
    expect(page.text).not.toContain('Later.');
    expect(page.find('h1').textContent).toBe('CPU is busy');
  });
});
