import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, VIEWER, aSeries, anAlert, anIncident } from '../../testing/things';

describe('the list of incidents', () => {
  it('is read', async () => expect((await Page.open('/incidents', { 'GET incidents': NEVER })).text).toContain('Reading…'));

  it.each([['/incidents', 'No incident is open.'], ['/incidents?state=resolved', 'No incident was resolved yet.'], ['/incidents?state=all', 'There never was an incident.']])('of %s is empty: %s', async (url, words) => {
    expect((await Page.open(url, { 'GET incidents': { items: [], next_cursor: null } })).text).toContain(words);
  });

  it('cannot be read', async () => {
    const page = await Page.open('/incidents', { 'GET incidents': new Refusal(0) });
    expect(page.find('[role=alert]').textContent).toBe('Quantum cannot be reached. Is it still running?');
  });

  it('shows open ones with who has them and what they were', async () => {
    const one = anIncident({ state: 'acknowledged', acknowledged_by: 'ada', verdict: 'new_normal', opened_at_ms: Date.now() - 60_000 });
    const page = await Page.open('/incidents', { 'GET incidents': { items: [one], next_cursor: null } });
    for (const words of ['CPU is busy on host a', 'opened 1 min ago', '1 alert, 1 firing', 'ada has it', 'new normal', 'acknowledged']) expect(page.text).toContain(words);
    expect(page.requests('GET incidents')[0].params.getAll('state')).toEqual(['open', 'acknowledged']);
  });

  it('adds older ones on demand', async () => {
    const page = await Page.open('/incidents', { 'GET incidents': { items: [anIncident()], next_cursor: 'c1' } });
    page.answers['GET incidents'] = { items: [anIncident({ id: 'i0' })], next_cursor: null };
    await page.click('Older incidents');
    expect(page.all('a.row')).toHaveLength(2);
  });
});

describe('an incident', () => {
  const full = { incident: anIncident({ notes: [{ at_ms: AT_MS, author: 'ada', text: 'the queue is full' }] }), alerts: [anAlert()] };
  const open = (extra = {}) => Page.open('/incidents/i1', { 'GET incidents/i1': full, ...extra });

  it('is read', async () => expect((await open({ 'GET incidents/i1': NEVER })).all('.skeleton')).toHaveLength(1));
  it('is not there', async () => expect((await open({ 'GET incidents/i1': new Refusal(404, 'There is no incident i1.') })).text).toBe('There is no incident i1.'));
  it('offers a viewer nothing to do, and everything to read', async () => {
    const page = await Page.open('/incidents/i1', { 'GET incidents/i1': full }, VIEWER);
    expect(page.text).toContain('the queue is full');
    expect([page.texts('button'), page.all('textarea').length]).toEqual([['Look'], 0]);
  });
  it('has no notes yet', async () => expect((await open({ 'GET incidents/i1': { incident: anIncident(), alerts: [] } })).text).toContain('Nobody has written anything yet.'));

  it('shows its alerts and notes, and names the page', async () => {
    const page = await open();
    for (const words of ['is 0.99, above 0.9', 'the queue is full', 'ada, 2026-11-23']) expect(page.text).toContain(words);
    expect(document.title).toBe('CPU is busy on host a · Quantum');
  });

  it('is taken, and then cannot be taken again', async () => {
    const page = await open({ 'POST incidents/i1/acknowledge': anIncident({ state: 'acknowledged', acknowledged_by: 'ada' }) });
    await page.click('Acknowledge');
    expect(page.text).toContain('ada has it');
    expect(page.find<HTMLButtonElement>('.button.primary').disabled).toBe(true);
  });

  it('is resolved and judged', async () => {
    const page = await open({
      'POST incidents/i1/resolve': anIncident({ state: 'resolved', resolved_by: 'ada' }),
      'POST incidents/i1/verdict': anIncident({ verdict: 'new_normal' }),
    });
    await page.click('Resolve');
    expect(page.text).toContain('resolved by ada');
    await page.click('new normal');
    expect(page.requests('POST incidents/i1/verdict')[0].body).toEqual({ verdict: 'new_normal' });
    expect(page.find('[aria-pressed=true]').textContent).toBe('new normal');
  });

  it('keeps the words of a note that could not be stored, and clears those that could', async () => {
    const page = await open({ 'POST incidents/i1/note': new Refusal(503, 'Later.') });
    await page.fill('textarea', 'it was the disk');
    await page.submit();
    expect([page.find<HTMLTextAreaElement>('textarea').value, page.find('[role=alert]').textContent]).toEqual(['it was the disk', 'Later.']);
    page.answers['POST incidents/i1/note'] = anIncident({ notes: [{ at_ms: AT_MS, author: 'ada', text: 'it was the disk' }] });
    await page.submit();
    expect(page.find<HTMLTextAreaElement>('textarea').value).toBe('');
    expect(page.texts('.text')).toEqual(['it was the disk']);
  });

  it('looks for what else moved, when asked to', async () => {
    const moved = { series: aSeries({ name: 'disk' }), surprise: 4, peak_at_ms: AT_MS, score: 0.7 };
    const page = await open({ 'GET what-moved': { items: [moved, { ...moved, surprise: 0.2 }] } });
    await page.click('Look');
    const asked = page.requests('GET what-moved')[0].params;
    expect([asked.get('start_ms'), asked.get('end_ms')]).toEqual([String(AT_MS - 1_800_000), String(AT_MS + 1_800_000)]);
    expect(page.text).toContain('one in 10 000 such hours, 2026-11-23');
    page.answers['GET what-moved'] = { items: [] };
    await page.click('Look again');
    expect(page.text).toContain('Nothing was odder than usual.');
    page.answers['GET what-moved'] = new Refusal(400, 'Too long for so many series.');
    await page.click('Look again');
    expect(page.find('[role=alert]').textContent).toBe('Too long for so many series.');
  });

  it('does not send an empty note', async () => {
    const page = await open();
    await page.fill('textarea', '  ');
    await page.submit();
    expect(page.asked).toHaveLength(1);
  });
});
