import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, VIEWER } from '../../testing/things';

const key = (other: object = {}) => ({
  id: '0a1b2c', name: 'telegraf', scopes: ['ingest'], created_at_ms: AT_MS, created_by: 'anna', expires_at_ms: null, last_used_at_ms: null, ...other,
});
const none = { 'GET api-keys': { items: [] } };

describe('the page of API keys', () => {
  it('is read', async () => expect((await Page.open('/keys', { 'GET api-keys': NEVER })).text).toContain('Reading…'));

  it('is empty', async () => expect((await Page.open('/keys', none)).text).toContain('No key yet'));

  it('says who may not see it', async () => {
    const page = await Page.open('/keys', { 'GET api-keys': new Refusal(403, 'this needs the role admin; vera has viewer', 'forbidden') });
    expect(page.find('[role=alert]').textContent).toBe('You may not do that: this needs the role admin; vera has viewer.');
    expect(page.text).toContain('They could not be read.');
  });

  it('offers to make keys to administrators alone', async () => {
    expect((await Page.open('/keys', none, VIEWER)).all('form')).toHaveLength(0);
  });

  it('lists keys without themselves', async () => {
    const items = [key(), key({ id: 'ffff', name: 'grafana', scopes: ['ingest', 'read'], expires_at_ms: 1000, last_used_at_ms: AT_MS })];
    const page = await Page.open('/keys', { 'GET api-keys': { items } });
    for (const words of ['telegraf', 'qk_0a1b2c_…', 'by anna', 'never', 'not since the start', 'send samples, read', 'expired ']) expect(page.text).toContain(words);
  });

  it('makes a key, shows it, and shows it no more', async () => {
    const page = await Page.open('/keys', { ...none, 'POST api-keys': { key: 'qk_0a1b2c_secret', item: key() } });
    await page.fill('[name=kname]', 'telegraf');
    await page.fill('[name=kdays]', '30');
    await page.submit('form');
    const asked = page.asked.find((one) => one.method === 'POST')?.body as { name: string; scopes: string[]; expires_at_ms: number };
    expect(asked.name).toBe('telegraf');
    expect(asked.scopes).toEqual(['ingest']);
    expect(Math.abs(asked.expires_at_ms - Date.now() - 30 * 86_400_000)).toBeLessThan(60_000);
    expect(page.text).toContain('qk_0a1b2c_secret');
    await page.click('I have it');
    expect(page.text).not.toContain('qk_0a1b2c_secret');
  });

  it.each(['0', '-1', 'soon', '40000'])('refuses %s days', async (days) => {
    const page = await Page.open('/keys', none);
    await page.fill('[name=kname]', 'x');
    await page.fill('[name=kdays]', days);
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toContain('1 to 36,500 days');
    expect(page.asked.some((one) => one.method === 'POST')).toBe(false);
  });

  it('wants to know what a key is for', async () => {
    const page = await Page.open('/keys', none);
    await page.fill('[name=kname]', 'x');
    page.find<HTMLInputElement>('[name=kingest]').click();
    await page.submit('form');
    expect(page.find('[role=alert]').textContent).toBe('Choose what the key is for.');
  });

  it('revokes a key that it was told to revoke', async () => {
    const page = await Page.open('/keys', { 'GET api-keys': { items: [key()] }, 'DELETE api-keys/0a1b2c': null });
    vi.spyOn(window, 'confirm').mockReturnValueOnce(false).mockReturnValueOnce(true);
    await page.click('Revoke');
    expect(page.asked.some((one) => one.method === 'DELETE')).toBe(false);
    page.answers['GET api-keys'] = { items: [] };
    await page.click('Revoke');
    expect(page.asked.some((one) => one.method === 'DELETE')).toBe(true);
    expect(page.text).toContain('No key yet');
  });
});
