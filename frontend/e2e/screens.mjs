// Opens every page of a running Quantum in light and dark, wide and narrow: checks key texts, page errors and
// accessibility (WCAG 2.2 AA), and writes screenshots.   node e2e/screens.mjs BASE_URL OUT_DIR
import { AxeBuilder } from '@axe-core/playwright';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [base, out] = process.argv.slice(2);
if (!base || !out) {
  console.error('usage: node e2e/screens.mjs BASE_URL OUT_DIR');
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const api = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
const alert = (await api('alerts')).items[0];
const series = alert?.contributors[0] ?? (await api('series?q=host_cpu_busy_ratio')).items[0] ?? (await api('series')).items[0];
const incident = (await api('incidents')).items[0];
const policies = (await api('policies')).items;
const policy = policies.find((one) => one.receivers.length) ?? policies[0];
const tryOut = async (page) => {
  await page.getByLabel('in the last').selectOption({ label: '1 h' });
  await page.getByRole('button', { name: 'Try it on the past' }).click();
};
const askRoutes = async (page) => {
  await page.getByRole('button', { name: 'New route' }).click();
  await page.getByRole('button', { name: 'Ask the routes' }).click();
};
const pages = [
  ['overview', '/', /Nothing is wrong|incident|Learning|Waiting/],
  ['explore', '/explore', /series/],
  ...(series ? [['series', `/series/${series.fingerprint}`, new RegExp(series.name)]] : []),
  ['alerts', '/alerts', /Alerts/],
  ...(alert ? [['alert', `/alerts/${alert.id}`, /History/]] : []),
  ['incidents', '/incidents?state=all', /Incidents/],
  ...(incident ? [['incident', `/incidents/${incident.id}`, /Notes/]] : []),
  ['policies', '/policies', /Receivers/],
  ...(policy ? [['policy', `/policies?edit=${policy.id}`, /Woken|Nobody would have been woken/, tryOut]] : []),
  ...(policy ? [['lessons', `/policies?learn=${policy.id}`, /Say what incidents were|Learn this|Refused/, (page) => page.getByRole('button', { name: 'Look for proposals' }).click()]] : []),
  ['silences', '/silences?match=' + encodeURIComponent('{severity=~".+"}'), /It would silence/],
  ['routes', '/routes', /would be told,/, askRoutes],
  ['models', '/models', /Every series is watched in full/],
  ['replay', '/replay?range=1h', /comes to exactly the same/, (page) => page.getByRole('button', { name: 'Replay' }).click()],
  ['audit', '/audit', /put policy/],
  ['missing', '/no-such-page', /nothing here/],
];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic'],
});
const faults = [];
for (const colorScheme of ['light', 'dark']) {
  for (const [size, viewport] of [['wide', { width: 1440, height: 900 }], ['narrow', { width: 390, height: 844 }]]) {
    // the page's policy forbids foreign scripts, the accessibility checker included
    const context = await browser.newContext({ colorScheme, viewport, bypassCSP: true, reducedMotion: 'reduce' });
    for (const [name, path, text, first] of pages) {
      const page = await context.newPage();
      page.on('pageerror', (error) => faults.push(`${name} ${colorScheme} ${size}: ${error.message}`));
      page.on('console', (message) => message.type() === 'error' && faults.push(`${name} ${colorScheme} ${size}: ${message.text()}`));
      await page.goto(base + path, { waitUntil: 'domcontentloaded' });
      await first?.(page);
      await page.getByText(text).first().waitFor({ timeout: 20_000 }).catch(() => faults.push(`${name} ${colorScheme} ${size}: ${text} is not shown`));
      await page.waitForTimeout(name === 'series' || name === 'overview' ? 1500 : 500);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (overflow > 1) faults.push(`${name} ${colorScheme} ${size}: the page is ${overflow} px wider than the window`);
      const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag22aa']).analyze();
      for (const one of violations) faults.push(`${name} ${colorScheme} ${size}: ${one.id}: ${one.help}: ${one.nodes[0].target} ${one.nodes[0].failureSummary ?? ''}`);
      await page.screenshot({ path: join(out, `${name}-${colorScheme}-${size}.png`), fullPage: name !== 'overview' });
      await page.close();
    }
    await context.close();
  }
}
const checks = await browser.newContext();
const page = await checks.newPage();
page.on('console', (message) => message.type() === 'error' && faults.push(`policy: ${message.text()}`));
for (const [name, path, text, first] of pages) {
  // this time under the content security policy: whatever it forbids is an error on the console
  await page.goto(base + path);
  await first?.(page);
  await page.getByText(text).first().waitFor({ timeout: 20_000 }).catch(() => faults.push(`${name}: ${text} is not shown under the policy`));
}
await page.goto(base);
await page.getByText('Live', { exact: true }).waitFor({ timeout: 10_000 }).catch(() => faults.push('the page never goes live'));
await page.keyboard.press('g');
await page.keyboard.press('e');
await page.waitForURL('**/explore', { timeout: 3000 }).catch(() => faults.push('the keys g e do not lead to Explore'));
await page.keyboard.press('Control+k');
await page.getByRole('combobox', { name: 'Go to a page or a series' }).fill('cpu_busy');
await page.getByRole('option', { name: /host_cpu_busy_ratio/ }).first().waitFor({ timeout: 5000 }).catch(() => faults.push('the palette does not find a series'));
await page.keyboard.press('Escape');
await page.keyboard.press('?');
await page.getByText('Time machine', { exact: true }).nth(1).waitFor({ timeout: 3000 }).catch(() => faults.push('the key ? does not explain the keys'));
await page.keyboard.press('Escape');
await page.locator('q-help').waitFor({ state: 'detached', timeout: 3000 }).catch(() => faults.push('Esc does not close the help'));
await page.goto(`${base}/explore?order=-score`);
await page.locator('th[aria-sort=descending]').waitFor({ timeout: 5000 }).catch(() => faults.push('the order of series does not survive in the address'));
await page.keyboard.press('/');
await page.keyboard.type('cpu_busy');
await page.waitForURL(/order=-score&q=cpu_busy/, { timeout: 5000 }).catch(() => faults.push('the key / does not lead to the search'));
await page.reload();
await page.waitForFunction(() => document.querySelector('#search')?.value === 'cpu_busy', null, { timeout: 5000 }).catch(() => faults.push('what was searched does not survive a reload'));
let link = null, isCut = false;
await page.routeWebSocket(/live/, (socket) => (isCut ? socket.close() : (link = socket).connectToServer()));
await page.goto(base);
await page.getByText('Live', { exact: true }).waitFor({ timeout: 10_000 }).catch(() => faults.push('the page is not live'));
await page.waitForTimeout(2000);
isCut = true;
await link?.close();
await page.getByText('Nobody knows').waitFor({ timeout: 20_000 }).catch(() => faults.push('a lost connection does not take back the verdict'));
await page.screenshot({ path: join(out, 'lost.png') });
isCut = false;
await page.getByRole('button', { name: 'Try now' }).click({ timeout: 3000 }).catch(() => faults.push('a lost connection offers no way back'));
await page.getByText('Live', { exact: true }).waitFor({ timeout: 5000 }).catch(() => faults.push('the connection does not come back'));
await page.goto(`${base}/docs`);
await page.getByText('/api/v1/samples').first().waitFor({ timeout: 10_000 }).catch(() => faults.push('the API documentation does not render'));
await page.screenshot({ path: join(out, 'docs.png') });
await browser.close();
for (const fault of faults) console.error(fault);
console.log(`${pages.length} pages, 4 ways each: ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
