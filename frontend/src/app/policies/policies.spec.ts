import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { aPolicy, aReport, anAlert, AT_MS, VIEWER } from '../../testing/things';

const HOUR = 3_600_000;
const receivers = { items: [{ name: 'on-call', version: 1, url: 'https://example.org/hook', has_secret: true }] };
const some = { 'GET policies': { items: [aPolicy()] }, 'GET receivers': receivers };
const none = { 'GET policies': { items: [] }, 'GET receivers': { items: [] } };

describe('the list of policies', () => {
  it('is read', async () => expect((await Page.open('/policies', { ...some, 'GET policies': NEVER })).text).toContain('Reading…'));

  it('offers a viewer nothing to change', async () => {
    const page = await Page.open('/policies?edit=p1', some, VIEWER);
    for (const words of ['CPU is busy', 'on-call', 'Policies are changed by operators and administrators.']) expect(page.text).toContain(words);
    expect([page.all('form, q-policy-editor').length, page.texts('button:not([disabled])')]).toEqual([0, []]);
  });

  it('offers an operator the policies and not the receivers', async () => {
    const page = await Page.open('/policies', some, { ...VIEWER, may: ['read', 'act'] });
    expect([page.texts('button.button'), page.all('form').length]).toEqual([['New policy', 'Edit', 'Lessons', 'Delete'], 0]);
  });

  it('is empty', async () => {
    const page = await Page.open('/policies', none);
    expect(page.text).toContain('nothing will ever raise an alert');
    expect(page.text).toContain('No receiver yet');
  });

  it('cannot be read', async () => {
    const page = await Page.open('/policies', { ...some, 'GET policies': new Refusal(503, 'Later.') });
    expect(page.find('[role=alert]').textContent).toBe('Later.');
    expect(page.text).not.toContain('Reading…');
  });

  it('says of each what it watches, when it is broken and whom it tells', async () => {
    const page = await Page.open('/policies', some);
    for (const words of ['CPU is busy', 'tells on-call', 'value above 0.9', 'for 10 s, by host', 'critical', 'https://example.org/hook · with secret']) expect(page.text).toContain(words);
  });

  it.each([
    [{ kind: 'anomaly_score', raise_at: 0.35 }, 'score at least 0.35'], [{ kind: 'anomaly_score', raise_at: 0.35, direction: 'above' }, 'score at least 0.35, above what is expected'],
    [{ kind: 'page_budget', pages: 1, per_ms: HOUR, direction: 'below' }, 'among the oddest, below what is expected: at most 1 page in 1 h'], [{ kind: 'absence', after_ms: 120_000 }, 'silent for 2 min'],
    [{ kind: 'rate_of_change', op: 'below', window_ms: 60_000, raise_at: -5 }, 'changes by below -5 a second over 1 min'],
  ])('reads %o as: %s', async (condition, words) => {
    expect((await Page.open('/policies', { ...some, 'GET policies': { items: [aPolicy({ condition: condition as never })] } })).text).toContain(words);
  });

  it('says what was spent of a page budget, and nothing where that is not known', async () => {
    const one = aPolicy({ condition: { kind: 'page_budget', pages: 2, per_ms: 7 * 24 * HOUR } });
    const budget = { policy_id: 'p1', pages: 2, per_ms: 7 * 24 * HOUR, spent: 1, cut_score: 0.6234 };
    const page = await Page.open('/policies', { ...some, 'GET policies': { items: [one] }, 'GET policies/p1/budget': budget });
    for (const words of ['among the oddest: at most 2 pages in 7 d', '1 of 2 spent in the last 7 d; a score of 0.62 pages now']) expect(page.text).toContain(words);
    page.answers['GET policies/p1/budget'] = new Refusal(503);
    page.answers['PUT policies/p1'] = one;
    page.find('mat-slide-toggle button').click();
    await page.settle();
    expect(page.text).not.toContain('spent in the last');
    expect(page.text).toContain('at most 2 pages');
  });

  it('writes a page budget, and says what is wrong with one', async () => {
    const page = await Page.open('/policies?edit=new', { ...none, 'POST policies': aPolicy() });
    await page.fill('[name=name]', 'Odd');
    await page.fill('[name=selector]', 'cpu');
    await page.fill('[name=kind]', 'page_budget');
    await page.fill('[name=pages]', '0');
    await page.fill('[name=per_days]', '31');
    await page.submit('q-policy-editor form');
    for (const words of ['A whole number from 1 to 1000.', 'Between an hour (0.042) and 30 days.']) expect(page.text).toContain(words);
    await page.fill('[name=pages]', '3');
    await page.fill('[name=per_days]', '1');
    await page.fill('[name=direction]', 'below');
    await page.submit('q-policy-editor form');
    expect(page.requests('POST policies')[0].body).toMatchObject({ condition: { kind: 'page_budget', pages: 3, per_ms: 24 * HOUR, direction: 'below' } });
  });

  it('writes and shows a limit that will be reached, and says what is wrong with one', async () => {
    const one = aPolicy({ condition: { kind: 'time_to_limit', op: 'above', limit: 95, within_ms: 4 * HOUR, probability: 0.9 } });
    const page = await Page.open('/policies?edit=p1', { ...some, 'GET policies': { items: [one] }, 'PUT policies/p1': one });
    await page.settle();
    expect(page.text).toContain('above 95 within 4 h, with a chance of 90 %');
    await page.fill('[name=limit]', '');
    await page.fill('[name=within_s]', '59');
    await page.fill('[name=percent]', '96');
    await page.submit('q-policy-editor form');
    for (const words of ['A number is needed.', 'Between a minute (60) and 7 days (604800).', 'Between 5 and 95.']) expect(page.text).toContain(words);
    await page.fill('[name=limit]', '80');
    await page.fill('[name=within_s]', '3600');
    await page.fill('[name=percent]', '50');
    await page.submit('q-policy-editor form');
    expect(page.requests('PUT policies/p1')[0].body).toMatchObject({ condition: { kind: 'time_to_limit', op: 'above', limit: 80, within_ms: HOUR, probability: 0.5 } });
  });

  it('opens a page budget as it was written', async () => {
    const one = aPolicy({ condition: { kind: 'page_budget', pages: 5, per_ms: 48 * HOUR } });
    const page = await Page.open('/policies?edit=p1', { ...some, 'GET policies': { items: [one] }, 'GET policies/p1/budget': new Refusal(503) });
    await page.settle();
    expect([page.find<HTMLInputElement>('[name=pages]').value, page.find<HTMLInputElement>('[name=per_days]').value]).toEqual(['5', '2']);
  });

  it('switches one off with its version, so that nobody’s change is lost', async () => {
    const page = await Page.open('/policies', { ...some, 'PUT policies/p1': aPolicy({ enabled: false }) });
    page.find('mat-slide-toggle button').click();
    await page.settle();
    const [request] = page.requests('PUT policies/p1');
    expect([request.headers.get('If-Match'), (request.body as { enabled: boolean }).enabled]).toEqual(['"3"', false]);
  });

  it('deletes one after a question, and not without', async () => {
    const page = await Page.open('/policies', { ...some, 'DELETE policies/p1': null });
    const ask = vi.spyOn(window, 'confirm').mockReturnValueOnce(false).mockReturnValueOnce(true);
    await page.click('Delete');
    expect(page.requests('DELETE policies/p1')).toHaveLength(0);
    await page.click('Delete');
    expect([page.requests('DELETE policies/p1').length, ask.mock.calls[0][0]]).toEqual([1, 'Delete the policy “CPU is busy”? Its firing alerts will resolve.']);
  });

  it('adds a receiver', async () => {
    const page = await Page.open('/policies', { ...none, 'POST receivers': {} });
    await page.fill('[name=rname]', 'on-call');
    await page.fill('[name=rurl]', 'https://example.org/hook');
    await page.submit();
    expect(page.requests('POST receivers')[0].body).toEqual({ name: 'on-call', url: 'https://example.org/hook' });
  });
});

describe('the editor of a policy', () => {
  it('is opened by the button and by the address, and closed again', async () => {
    const page = await Page.open('/policies', some);
    await page.click('New policy');
    expect(page.find('#form-title').textContent).toBe('New policy');
    await page.click('Cancel');
    expect(page.all('q-policy-editor')).toHaveLength(0);
    await page.click('Edit');
    expect(page.find('#form-title').textContent).toBe('Edit policy');
  });

  it('is filled with the policy that the address names', async () => {
    const page = await Page.open('/policies?edit=p1', some);
    const value = (name: string) => page.find<HTMLInputElement>(`[name=${name}]`).value;
    expect([value('name'), value('selector'), value('raise_at'), value('clear_at'), value('for_s'), value('by')]).toEqual(['CPU is busy', 'cpu', '0.9', '0.8', '10', 'host']);
    expect(page.find<HTMLInputElement>('fieldset input').checked).toBe(true);
  });

  it('says when that policy is not there any more', async () => {
    expect((await Page.open('/policies?edit=gone', some)).find('[role=alert]').textContent).toContain('not there any more');
  });

  it('does not send a draft with mistakes, and says at each field what is wrong', async () => {
    const page = await Page.open('/policies?edit=new', some);
    expect(page.all('.wrong')).toHaveLength(0);
    await page.fill('[name=raise_at]', '7');
    await page.submit('q-policy-editor form');
    expect(page.texts('.wrong')).toEqual(['A policy needs a name.', 'Name the series, for example host_cpu_busy_ratio{host="a"}.', 'A score lies above 0 and at most at 1.']);
    expect(page.asked.filter((one) => one.method !== 'GET')).toHaveLength(0);
    await page.fill('[name=name]', 'CPU');
    expect(page.texts('.wrong')).toHaveLength(2);
  });

  it('creates what was drafted, and closes', async () => {
    const page = await Page.open('/policies?edit=new', { ...some, 'POST policies': aPolicy() });
    await page.fill('[name=name]', 'CPU is odd');
    await page.fill('[name=selector]', 'cpu{host="a"}');
    await page.fill('[name=direction]', 'above');
    page.find('fieldset input').click();
    await page.submit('q-policy-editor form');
    expect(page.requests('POST policies')[0].body).toMatchObject({
      name: 'CPU is odd', matchers: [{ label: '__name__', op: '=', value: 'cpu' }, { label: 'host', op: '=', value: 'a' }],
      condition: { kind: 'anomaly_score', raise_at: 0.35, direction: 'above' }, receivers: ['on-call'], enabled: true,
    });
    expect(page.all('q-policy-editor')).toHaveLength(0);
    expect(page.requests('GET policies')).toHaveLength(2);
  });

  it('keeps the draft when the server refuses it', async () => {
    const page = await Page.open('/policies?edit=p1', { ...some, 'PUT policies/p1': new Refusal(412, 'Somebody else changed it.') });
    await page.fill('[name=name]', 'Mine');
    await page.submit('q-policy-editor form');
    expect(page.find('q-policy-editor [role=alert]').textContent).toBe('Somebody else changed it.');
    expect(page.find<HTMLInputElement>('[name=name]').value).toBe('Mine');
  });
});

describe('trying a draft on the past', () => {
  const open = (preview: unknown, extra = {}) => Page.open('/policies?edit=p1', { ...some, 'POST policies/preview': preview, 'GET alerts': { items: [], next_cursor: null }, ...extra });

  it('shows that it is at work, and can be stopped', async () => {
    const page = await open(NEVER);
    await page.click('Try it on the past');
    expect(page.all('[role=progressbar]')).toHaveLength(1);
    expect(page.find<HTMLButtonElement>('.trial .actions .button').disabled).toBe(true);
    await page.click('Stop waiting');
    expect(page.all('[role=progressbar]')).toHaveLength(0);
    expect(page.all('q-outcome, [role=alert]')).toHaveLength(0);
  });

  it('asks for the time that was chosen, and for the policy as if it were on', async () => {
    const page = await open(aReport(), { 'GET policies': { items: [aPolicy({ enabled: false })] } });
    const past = page.find<HTMLSelectElement>('[name=past]');
    past.value = past.options[0].value;
    past.dispatchEvent(new Event('change'));
    await page.click('Try it on the past');
    const body = page.requests('POST policies/preview')[0].body as { start_ms: number; end_ms: number; policy: { enabled: boolean } };
    expect([body.end_ms - body.start_ms, body.policy.enabled]).toEqual([HOUR, true]);
  });

  it('says that nobody would have been woken', async () => {
    const page = await open(aReport());
    await page.click('Try it on the past');
    expect(page.find('h3:not(#trial-title)').textContent).toBe('Nobody would have been woken');
  });

  it('says who would have been woken, when, why, and what that changes', async () => {
    const [alert, real] = [anAlert({ id: 'r1' }), anAlert({ id: 'l1', group: { host: 'b' }, reason: 'cpu{host="b"} was busy' })];
    const pages = [{ at_ms: AT_MS, receiver: 'on-call', alert_id: 'r1', policy_name: 'CPU is busy', state: 'firing', group: alert.group, reason: alert.reason }];
    const page = await open(aReport({ alerts: [alert], pages: pages as never }), { 'GET alerts': { items: [real], next_cursor: null } });
    await page.click('Try it on the past');
    for (const words of ['Woken: on-call once', 'wakes on-call', 'and still at the end', 'is 0.99, above 0.9', 'Really fired, and would not have', 'cpu{host="b"} was busy']) expect(page.text).toContain(words);
    expect(page.texts('.differs dd')).toEqual(['0 alerts', '1 alert', '1 alert']);
    expect(page.all('.track i')).toHaveLength(1);
    expect(page.requests('GET alerts')[0].params.get('policy_id')).toBe('p1');
  });

  it('does not compare a new policy with anything', async () => {
    const page = await open(aReport(), {});
    await page.click('New policy');
    await page.fill('[name=name]', 'New');
    await page.fill('[name=selector]', 'cpu');
    await page.click('Try it on the past');
    expect(page.all('q-outcome')).toHaveLength(1);
    expect(page.all('.differs')).toHaveLength(0);
    expect(page.requests('GET alerts')).toHaveLength(0);
  });

  it('says from when on history is kept', async () => {
    const page = await open(aReport({ start_ms: Date.now() - HOUR, end_ms: Date.now() }));
    await page.click('Try it on the past');
    expect(page.text).toContain('What is kept begins at');
  });

  it('shows what the server refuses', async () => {
    const page = await open(new Refusal(429, '2 replays are running already'));
    await page.click('Try it on the past');
    expect(page.find('q-policy-editor [role=alert]').textContent).toBe('2 replays are running already');
    expect(page.all('[role=progressbar]')).toHaveLength(0);
  });

  it('does not list a thousand alerts unasked', async () => {
    const alerts = Array.from({ length: 30 }, (_, i) => anAlert({ id: `r${i}`, group: { host: `h${i}` } }));
    const page = await open(aReport({ alerts }));
    await page.click('Try it on the past');
    expect([page.all('q-outcome li').length, page.all('.track').length]).toEqual([20, 8]);
    expect(page.text).toContain('And 22 more groups.');
    await page.click('Show all 30');
    expect(page.all('q-outcome li')).toHaveLength(30);
  });
});
