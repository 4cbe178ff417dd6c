// Signs in to a Quantum behind a proxy with TLS, in a real browser, and looks at what the browser makes of the cookies.
//   node e2e/over-tls.mjs HTTPS_URL PASSWORD USER
import { chromium } from 'playwright-core';

const [base, password, user] = process.argv.slice(2);
if (!user) {
  console.error('usage: node e2e/over-tls.mjs HTTPS_URL PASSWORD USER');
  process.exit(2);
}
const PATIENCE_MS = 20_000;
const NAME = '__Host-quantum_session';
const faults = [];
const expect = (what, found, wanted) => JSON.stringify(found) === JSON.stringify(wanted) || faults.push(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic'],
});
// nobody signed the certificate of this address
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const ours = async () => (await context.cookies(base)).filter(({ name }) => name.includes('quantum_'));
const page = await context.newPage();
page.on('pageerror', (error) => faults.push(`the page fails: ${error.message}`));

await page.goto(`${base}/policies`);
await page.getByRole('link', { name: 'Sign in' }).click({ timeout: PATIENCE_MS });
await page.locator('#username').waitFor({ timeout: PATIENCE_MS });
for (const one of await ours()) expect('while signing in', [one.name.startsWith('__Host-quantum_sign_in_'), one.secure, one.httpOnly, one.sameSite, one.path], [true, true, true, 'Lax', '/']);
expect('cookies of attempts', (await ours()).length, 1);
await page.locator('#username').fill(user);
await page.locator('#password').fill(password);
await page.locator('#kc-login').click();
await page.waitForURL(`${base}/policies`, { timeout: PATIENCE_MS }).catch(() => faults.push(`the browser is at ${page.url()}, not at the page that was wanted`));
await page.locator('.who summary').waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('nobody is signed in'));
await page.getByText('Live', { exact: true }).waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('the page never goes live'));

// ---- one cookie is left: for this host alone, over TLS alone, for no script and no other site
const [session, ...others] = await ours();
expect('other cookies', others, []);
expect('the session', [session?.name, session?.domain, session?.path, session?.secure, session?.httpOnly, session?.sameSite], [NAME, new URL(base).hostname, '/', true, true, 'Strict']);
expect('a script sees', await page.evaluate(() => document.cookie), '');

// ---- a name that begins so cannot be set by who has no TLS, nor for other hosts or places, nor by a script over ours
const planted = await page.evaluate((name) => {
  document.cookie = `${name}=qs_planted; path=/; secure`;
  document.cookie = `${name}=qs_planted; path=/api; secure`;
  document.cookie = `${name}=qs_planted; path=/`;
  document.cookie = 'quantum_session=qs_planted; path=/; secure';
  return document.cookie;
}, NAME);
expect('a script plants', planted, 'quantum_session=qs_planted');
expect('the session afterwards', (await ours()).filter(({ name }) => name === NAME).map(({ value, path }) => [value === session?.value, path]), [[true, '/']]);
const whoAmI = () => page.evaluate(async () => (await (await fetch('/api/v1/session')).json()).subject);
expect('known as', await whoAmI(), user);

// ---- signed out, the cookie is gone, and the plain one of the script is nobody's
await page.locator('.who summary').click();
await page.getByRole('button', { name: 'Sign out' }).click();
await page.getByRole('link', { name: 'Sign in' }).first().waitFor({ timeout: PATIENCE_MS }).catch(() => faults.push('signing out leads nowhere'));
expect('cookies afterwards', (await ours()).map(({ name }) => name), ['quantum_session']);
expect('known afterwards as', await whoAmI(), '');

await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
