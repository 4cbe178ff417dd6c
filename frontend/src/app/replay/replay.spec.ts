import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { VIEWER, aPolicy, aReport, anAlert } from '../../testing/things';

describe('the time machine', () => {
  it('waits to be asked', async () => {
    const page = await Page.open('/replay', {});
    expect(page.asked).toHaveLength(0);
    expect(page.texts('[aria-pressed=true]')).toEqual(['24h', 'of then']);
  });

  it('tells a viewer who may replay', async () => {
    const page = await Page.open('/replay', {}, VIEWER);
    expect(page.text).toContain('Replays are run by operators and administrators.');
    expect(page.texts('button')).not.toContain('Replay');
  });

  it('replays under the policies of then by giving none', async () => {
    const page = await Page.open('/replay?range=1h', { 'POST replay': aReport({ alerts_live: 2, alerts: [anAlert()] }) });
    await page.click('Replay');
    const body = page.requests('POST replay')[0].body as Record<string, number>;
    expect([body['end_ms'] - body['start_ms'], 'policies' in body]).toEqual([3_600_000, false]);
    expect(page.text).toContain('In truth 2 alerts began to fire in this time. The replay under the policies of then comes to exactly the same.');
    expect(page.text).toContain('CPU is busy · host=a');
  });

  it('replays under the policies of now, and says how that differs', async () => {
    const report = aReport({ alerts_live: 1, only_replayed: ['x', 'y'], only_live: ['z'] });
    const page = await Page.open('/replay?policies=now', { 'GET policies': { items: [aPolicy()] }, 'POST replay': report });
    await page.click('Replay');
    const { policies } = page.requests('POST replay')[0].body as { policies: Record<string, unknown>[] };
    expect(policies).toHaveLength(1);
    expect([policies[0]['name'], 'id' in policies[0], 'version' in policies[0]]).toEqual(['CPU is busy', false, false]);
    expect(page.text).toContain('2 alerts would have been added and 1 alert left out');
  });

  it('shows that it is at work, and stops waiting on demand', async () => {
    const page = await Page.open('/replay', { 'POST replay': NEVER });
    await page.click('Replay');
    expect(page.all('[role=progressbar]')).toHaveLength(1);
    await page.click('Stop waiting');
    expect([page.all('[role=progressbar]').length, page.all('q-outcome').length]).toEqual([0, 0]);
  });

  it('compares nothing with nothing', async () => {
    const page = await Page.open('/replay', { 'POST replay': aReport({ samples: 0 }) });
    await page.click('Replay');
    expect(page.text).toContain('Nothing is known of this time');
    expect(page.text).not.toContain('exactly the same');
  });

  it('shows what the server refuses, and the next answer instead', async () => {
    const page = await Page.open('/replay', { 'POST replay': new Refusal(429, '2 replays are running already') });
    await page.click('Replay');
    expect(page.find('[role=alert]').textContent).toBe('2 replays are running already');
    page.answers['POST replay'] = aReport();
    await page.click('Replay');
    expect([page.all('[role=alert]').length, page.all('q-outcome').length]).toEqual([0, 1]);
  });

  it('keeps what was chosen in the address', async () => {
    const page = await Page.open('/replay', {});
    await page.click('7d');
    await page.click('of now');
    expect(page.texts('[aria-pressed=true]')).toEqual(['7d', 'of now']);
    await page.click('of then');
    expect(page.texts('[aria-pressed=true]')).toEqual(['7d', 'of then']);
  });
});
