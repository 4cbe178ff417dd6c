import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, VIEWER, anAlert } from '../../testing/things';

const HOUR_MS = 3_600_000;
const silence = (other: object = {}) => ({
  id: 's1', state: 'active', matchers: [{ label: 'host', op: '=', value: 'a' }], starts_at_ms: Date.now() - HOUR_MS, ends_at_ms: Date.now() + HOUR_MS + 1000,
  comment: 'new disk', author: 'anna', created_at_ms: AT_MS, ended_by: '', ...other,
});
const none = { 'GET silences': { items: [] } };
const PREVIEW = { firing: 1, fired: 14, since_ms: AT_MS, examples: [anAlert()] };

describe('the page of silences', () => {
  it('is read', async () => expect((await Page.open('/silences', { 'GET silences': NEVER })).text).toContain('Reading…'));

  it.each([['/silences', 'Nothing is silenced.'], ['/silences?state=over', 'No silence is over yet.'], ['/silences?state=all', 'There never was a silence.']])('%s is empty: %s', async (url, words) => {
    expect((await Page.open(url, none)).text).toContain(words);
  });

  it('cannot be read', async () => {
    const page = await Page.open('/silences', { 'GET silences': new Refusal(500) });
    expect(page.find('[role=alert]').textContent).toBe('The server answered 500.');
    expect(page.text).toContain('They could not be read.');
  });

  it('lists what is silenced, by whom, why and for how long', async () => {
    const page = await Page.open('/silences', { 'GET silences': { items: [silence(), silence({ id: 's2', state: 'over', ended_by: 'bob' })] } });
    for (const words of ['{host="a"}', 'anna: new disk', '1 h left', 'active', 'over', 'ended by bob']) expect(page.text).toContain(words);
    expect(page.texts('button').filter((one) => one === 'End')).toHaveLength(1);
  });

  it('asks for those that the address names', async () => {
    const page = await Page.open('/silences', none);
    expect(page.requests('GET silences').at(-1)?.params.getAll('state')).toEqual(['active', 'pending']);
    await page.click('over');
    expect(page.requests('GET silences').at(-1)?.params.getAll('state')).toEqual(['over']);
  });

  it('offers viewers nothing that they may not do', async () => {
    const page = await Page.open('/silences', { 'GET silences': { items: [silence()] } }, VIEWER);
    expect(page.all('form')).toHaveLength(0);
    expect(page.texts('button')).not.toContain('End');
  });
});

describe('a new silence', () => {
  it('is tried out: what it would keep quiet now, and would have', async () => {
    const page = await Page.open('/silences', { ...none, 'POST silences/preview': PREVIEW });
    await page.fill('[name=selector]', '{host="a"}');
    await page.click('What would it silence?');
    expect(page.requests('POST silences/preview').at(-1)?.body).toEqual({ matchers: [{ label: 'host', op: '=', value: 'a' }] });
    for (const words of ['1 alert that fires now', 'would have silenced 14 since', 'CPU is busy']) expect(page.text).toContain(words);
  });

  it('is proposed by an alert, and tried out at once', async () => {
    const page = await Page.open(`/silences?match=${encodeURIComponent('{host="a"}')}`, { ...none, 'POST silences/preview': PREVIEW });
    expect(page.find<HTMLInputElement>('[name=selector]').value).toBe('{host="a"}');
    expect(page.text).toContain('would have silenced 14 since');
  });

  it('is made for two hours unless something else is chosen', async () => {
    const page = await Page.open('/silences', { ...none, 'POST silences': silence() });
    await page.fill('[name=selector]', '{host="a"}');
    await page.fill('[name=comment]', 'new disk');
    page.answers['GET silences'] = { items: [silence()] };
    await page.submit('form');
    const asked = page.requests('POST silences').at(-1)?.body as { ends_at_ms: number; comment: string };
    expect(Math.abs(asked.ends_at_ms - Date.now() - 2 * HOUR_MS)).toBeLessThan(60_000);
    expect(asked.comment).toBe('new disk');
    expect(page.text).toContain('{host="a"}');
    expect(page.find<HTMLInputElement>('[name=selector]').value).toBe('');
  });

  it('says what is wrong with it', async () => {
    const page = await Page.open('/silences', { ...none, 'POST silences': new Refusal(400, 'at least one matcher must ask for a value, or every alert would match') });
    await page.fill('[name=selector]', '{host=a}');
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toContain('cannot be read at “host=a”');
    await page.fill('[name=selector]', '{host=~".*"}');
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toContain('every alert would match');
  });
});

describe('a silence that comes again', () => {
  const schedule = { time_zone: 'Europe/Berlin', start_time: '22:00', end_time: '02:00', by_day: ['1SU', '-1MO'], first_day: '2026-11-26', last_day: '2027-01-31', clocks_differ: false };
  const at = (text: string) => Date.parse(text);
  const to_come = [{ starts_at_ms: at('2026-12-06T21:00:00Z'), ends_at_ms: at('2026-12-07T01:00:00Z') }];

  it('is listed by its days, its times and its next occurrence, by the clocks of its zone', async () => {
    const page = await Page.open('/silences', { 'GET silences': { items: [silence({ state: 'pending', schedule, to_come })] } });
    expect(page.text).toContain('first Sun, last Mon, 22:00 to 02:00, Europe/Berlin, until 2027-01-31');
    expect(page.text).toContain('next 2026-12-06 22:00 to 02:00');
    expect(page.text).not.toContain('other clocks');
  });

  it('says so when clocks will show something else than was known', async () => {
    const every = { ...schedule, by_day: ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'], last_day: '', clocks_differ: true };
    const page = await Page.open('/silences', { 'GET silences': { items: [silence({ schedule: every, to_come: [] })] } });
    expect(page.text).toContain('every day, 22:00 to 02:00, Europe/Berlin');
    expect(page.text).toContain('other clocks');
  });

  it('is tried out and made by days and times', async () => {
    const past = [{ starts_at_ms: at('2026-11-01T21:00:00Z'), ends_at_ms: at('2026-11-02T01:00:00Z'), withheld: 3 }];
    const page = await Page.open('/silences', { ...none, 'POST silences/preview': { ...PREVIEW, past, to_come }, 'POST silences': silence({ schedule, to_come }) });
    await page.fill('[name=selector]', '{host="a"}');
    await page.choose('[name=length]', 'it comes again');
    await page.choose('[name=which]', 'the first of a month');
    await page.fill('[name=zone]', 'Europe/Berlin');
    expect(page.text).toContain('To, on the next day');
    await page.click('What would it silence?');
    const asked = { time_zone: 'Europe/Berlin', by_day: ['1SU'], start_time: '22:00', end_time: '02:00' };
    expect(page.requests('POST silences/preview').at(-1)?.body).toEqual({ matchers: [{ label: 'host', op: '=', value: 'a' }], schedule: asked });
    for (const words of ['2026-12-06 22:00 to 02:00', '2026-11-01 22:00 to 02:00', '3 alerts would have been told to nobody']) expect(page.text).toContain(words);
    await page.fill('[name=last]', '2027-01-31');
    await page.submit('form');
    expect(page.requests('POST silences').at(-1)?.body).toEqual({ matchers: [{ label: 'host', op: '=', value: 'a' }], schedule: { ...asked, last_day: '2027-01-31' }, comment: '' });
  });

  it('has a day at least', async () => {
    const page = await Page.open('/silences', none);
    await page.fill('[name=selector]', '{host="a"}');
    await page.choose('[name=length]', 'it comes again');
    page.find<HTMLInputElement>('[name=SU]').click();
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toContain('Choose a day at least.');
    page.find<HTMLInputElement>('[name=MO]').click();
    await page.submit('form');
    expect((page.requests('POST silences').at(-1)?.body as { schedule: { by_day: string[] } }).schedule.by_day).toEqual(['MO']);
  });
});

describe('a silence that is not over', () => {
  it('is ended when that is wanted, and not when it is not', async () => {
    const page = await Page.open('/silences', { 'GET silences': { items: [silence()] }, 'DELETE silences/s1': null });
    const asked = vi.spyOn(window, 'confirm').mockReturnValue(false);
    await page.click('End');
    expect(page.requests('DELETE silences/s1')).toHaveLength(0);
    asked.mockReturnValue(true);
    page.answers['GET silences'] = { items: [] };
    await page.click('End');
    expect(page.requests('DELETE silences/s1')).toHaveLength(1);
    expect(page.text).toContain('Nothing is silenced.');
    asked.mockRestore();
  });
});
