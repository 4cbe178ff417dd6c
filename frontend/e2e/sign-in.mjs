// Signs in to a running Quantum at its Keycloak in a real browser, as a viewer and as an operator, and tries what each may
// not do: by page, by request, by socket.   node e2e/sign-in.mjs BASE_URL OUT_DIR PASSWORD VIEWER OPERATOR ADMIN
import { AxeBuilder } from '@axe-core/playwright';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { chromium } from 'playwright-core';

const [base, out, password, viewer, operator, admin] = process.argv.slice(2);
if (!admin) {
  console.error('usage: node e2e/sign-in.mjs BASE_URL OUT_DIR PASSWORD VIEWER OPERATOR ADMIN');
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const PATIENCE_MS = 20_000;
const POLICY = { name: 'by request', matchers: [{ label: '__name__', op: '=', value: 'cpu' }], condition: { kind: 'threshold', op: 'above', raise_at: 1, clear_at: 0.5 } };
const faults = [];
const expect = (what, found, wanted) => JSON.stringify(found) === JSON.stringify(wanted) || faults.push(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic'],
});
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Ask whoever runs this for something that happens outside of the browser, and wait until it has. */
const ask = async (what) => (console.log(`please: ${what}`), (await answers.next()).value);
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, bypassCSP: false, reducedMotion: 'reduce' });
const newPage = async () => {
  const page = await context.newPage();
  page.on('pageerror', (error) => faults.push(`the page fails: ${error.message}`));
  page.on('console', (message) => /Content Security Policy/.test(message.text()) && faults.push(message.text()));
  return page;
};
const shown = (page, words) => page.getByText(words).first().waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push(`${words} is not shown at ${page.url()}`));
const picture = (page, name) => page.screenshot({ path: join(out, `${name}.png`) });
/** Sign in at Keycloak's page, which the browser is at. */
const identify = async (page, name) => {
  await page.locator('#username').fill(name, { timeout: PATIENCE_MS });
  await picture(page, `keycloak-${name}`);
  await page.locator('#password').fill(password);
  await page.locator('#kc-login').click();
};
const request = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
  const answer = await fetch(path, { method, ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}) });
  return [answer.status, answer.headers.get('retry-after')];
}, [method, path, body]);
/** What a socket says to messages: each of its answers' types, or the code with which it was closed. */
const converse = (page, query, messages) => page.evaluate(([query, messages]) => new Promise((resolve) => {
  const heard = [];
  const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/api/v1/live${query}`);
  socket.onopen = () => messages.forEach((one) => socket.send(JSON.stringify(one)));
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data).type) === messages.length && resolve(heard);
  socket.onclose = ({ code }) => resolve(code);
}), [query, messages]);
const ticket = (page) => page.evaluate(async () => (await (await fetch('/api/v1/live/tickets', { method: 'POST' })).json()).ticket);

// ---- a stranger, who signs in as a viewer and comes back to where they wanted to go
const page = await newPage();
await page.goto(`${base}/policies`);
await shown(page, 'This Quantum wants to know who you are.');
await picture(page, 'stranger');
const { violations } = await new AxeBuilder({ page: await (await browser.newContext({ bypassCSP: true })).newPage().then(async (one) => (await one.goto(`${base}/policies`), await one.getByText('Sign in').first().waitFor(), one)) }).withTags(['wcag2a', 'wcag2aa', 'wcag22aa']).analyze();
for (const one of violations) faults.push(`sign-in: ${one.id}: ${one.help}`);
expect('a stranger reads', await request(page, 'GET', '/api/v1/policies'), [401, null]);
await page.getByRole('link', { name: 'Sign in' }).click();
await identify(page, viewer);
await page.waitForURL(`${base}/policies`, { timeout: PATIENCE_MS }).catch(() => faults.push(`the browser is at ${page.url()}, not at the page that was wanted`));
await page.locator('.who summary').waitFor({ timeout: PATIENCE_MS });
await page.getByText('Live', { exact: true }).waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('a viewer’s page never goes live'));
await shown(page, 'No receiver yet');
await page.locator('.who summary').click();
await picture(page, 'viewer');
expect('the cookie is a script’s', await page.evaluate(() => document.cookie), '');
expect('the page keeps something', await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);

// ---- a viewer cannot write: by page, by request, by socket
expect('a viewer is offered', await page.locator('main button:not([disabled]), main form').count(), 0);
expect('a viewer is led to', await page.getByRole('link', { name: 'Keys' }).count(), 0);
expect('a viewer writes by request', await request(page, 'POST', '/api/v1/policies', POLICY), [403, null]);
expect('a viewer administers', await request(page, 'GET', '/api/v1/api-keys'), [403, null]);
const used = await ticket(page);
expect('a viewer writes by socket', await converse(page, `?ticket=${used}`, [{ op: 'subscribe', topic: 'alerts' }, { op: 'put', topic: 'alerts' }, { op: 'acknowledge' }]), ['subscribed', 'error', 'error']);
expect('a ticket is good twice', await converse(page, `?ticket=${used}`, []), 1006);
expect('a cookie opens a socket', await converse(page, '', []), 1006);

// ---- signing out kills the live socket of every window
const other = await newPage();
await other.goto(`${base}/alerts?state=all`);
await other.getByText('Live', { exact: true }).waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('the other window never goes live'));
const closed = other.evaluate(async () => {
  const { ticket } = await (await fetch('/api/v1/live/tickets', { method: 'POST' })).json();
  window.held = new WebSocket(`${location.origin.replace('http', 'ws')}/api/v1/live?ticket=${ticket}`);
  await new Promise((resolve) => (window.held.onopen = resolve));
  window.code = new Promise((resolve) => (window.held.onclose = ({ code }) => resolve(code)));
});
await closed;
if (await page.locator('.who[open]').count() === 0) await page.locator('.who summary').click();
await page.getByRole('button', { name: 'Sign out' }).click();
expect('the socket of another window is closed with', await other.evaluate(() => window.code), 4401);
await shown(other, 'Your session is over. Sign in again, and you come back to this page.');
await picture(other, 'over');
await shown(page, 'This Quantum wants to know who you are.');
expect('signed out', await request(page, 'GET', '/api/v1/overview'), [401, null]);

// ---- an operator, in the window whose session was over
await other.getByRole('link', { name: 'Sign in again' }).click();
await identify(other, operator);
await other.waitForURL(`${base}/alerts?state=all`, { timeout: PATIENCE_MS }).catch(() => faults.push(`the browser is at ${other.url()}, not where it was`));
await other.locator('.who summary').waitFor({ timeout: PATIENCE_MS });
expect('an operator writes by request', (await request(other, 'POST', '/api/v1/policies', POLICY))[0], 201);
expect('an operator administers', (await request(other, 'GET', '/api/v1/api-keys'))[0], 403);
await other.goto(`${base}/policies`);
await shown(other, 'by request');
await other.getByRole('button', { name: 'Edit by request' }).waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('an operator cannot edit'));
expect('an operator is offered receivers', await other.getByRole('button', { name: 'Add receiver' }).count(), 0);
await picture(other, 'operator');

// ---- without Redis nobody is let in, and nobody is called a stranger
await ask('stop redis');
expect('without Redis', await request(other, 'GET', '/api/v1/overview'), [503, '1']);
await other.goto(`${base}/incidents`);
await shown(other, 'Redis, which keeps who is signed in, does not answer');
await picture(other, 'without-redis');
expect('without Redis somebody is sent to sign in', await other.locator('q-sign-in').count(), 0);
await ask('start redis');
expect('with an empty Redis', await request(other, 'GET', '/api/v1/overview'), [401, null]);

// ---- an administrator: Keycloak remembers the operator, so another browser
const fresh = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
const last = await fresh.newPage();
await last.goto(`${base}/keys`);
await last.getByRole('link', { name: 'Sign in' }).click();
await identify(last, admin);
await shown(last, 'No key yet');
await last.getByText('Live', { exact: true }).waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('an administrator’s page never goes live'));
await last.locator('.who summary').click();
await picture(last, 'admin');
expect('the header has more than one line: its height', (await last.locator('header.bar').boundingBox()).height < 60, true);
await last.getByRole('button', { name: 'Sign out' }).click();
await shown(last, 'This Quantum wants to know who you are.');
await browser.close();
for (const fault of faults) console.error(fault);
console.log(`${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
