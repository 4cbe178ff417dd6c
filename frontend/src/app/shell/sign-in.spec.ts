import { Dialog } from '@angular/cdk/dialog';
import { ComponentFixture, TestBed } from '@angular/core/testing';
import { Router } from '@angular/router';
import { Page, Refusal } from '../../testing/page';
import { VIEWER, aSession } from '../../testing/things';
import { Palette } from './palette';
import { LEAVE, Shell } from './shell';

const STRANGER = aSession({ subject: '', tenant: '', roles: [], may: [], means: '', sign_in: '/api/v1/login' });
const ALERTS = { 'GET alerts': { items: [], next_cursor: null } };

describe('the frame, with sign-in', () => {
  let page: Page;
  let shell: ComponentFixture<Shell>;
  let left: string[];

  afterEach(() => vi.useRealTimers());

  const settle = async () => {
    for (let turn = 0; turn < 4; turn++) {
      await new Promise((resolve) => setTimeout(resolve));
      shell.detectChanges();
    }
  };
  const element = () => shell.nativeElement as HTMLElement;
  const text = () => (element().textContent ?? '').replace(/\s+/g, ' ');
  const click = async (words: string) => {
    [...element().querySelectorAll<HTMLElement>('button')].find((one) => one.textContent === words)!.click();
    await settle();
  };
  const open = async (session: unknown, answers: Record<string, unknown> = {}) => {
    left = [];
    page = new Page({ 'GET session': session, 'POST live/tickets': { ticket: 'qt_1', expires_at_ms: 1 }, ...ALERTS, ...answers });
    TestBed.overrideProvider(LEAVE, { useValue: (url: string) => left.push(url) });
    await TestBed.inject(Router).navigateByUrl('/alerts?state=all');
    shell = TestBed.createComponent(Shell);
    await TestBed.inject(Router).navigateByUrl('/alerts?state=firing');
    await settle();
  };

  it('offers a stranger to sign in and to come back, and asks for nothing else', async () => {
    await open(STRANGER);
    expect(text()).toContain('This Quantum wants to know who you are.');
    expect(element().querySelector<HTMLAnchorElement>('q-sign-in a')!.getAttribute('href')).toBe('/api/v1/login?to=%2Falerts%3Fstate%3Dfiring');
    expect([page.asked.map((one) => one.url), page.sockets.opened.length]).toEqual([['/api/v1/session'], 0]);
    expect(element().querySelector('.who, .banner, .find, [role=status]')).toBeNull();
  });

  it('says who is signed in, and leaves out what they may not see', async () => {
    await open(VIEWER);
    expect(element().querySelector('.who')!.textContent).toContain('vera');
    expect(text()).toContain('viewer · tenant default');
    expect([...element().querySelectorAll('nav a')].map((one) => one.textContent)).toEqual(['Overview', 'Explore', 'Alerts', 'Incidents', 'Policies', 'Silences', 'Routes', 'Time machine', 'Models']);
    for (const key of ['g', 'k']) document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    await settle();
    expect(TestBed.inject(Router).url).toBe('/alerts?state=firing');
  });

  it('opens the socket with a ticket, and again with a new one', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setInterval'] });
    await open(VIEWER);
    expect(page.sockets.newest.url).toBe(`ws://${location.host}/api/v1/live?ticket=qt_1`);
    page.sockets.newest.accept();
    page.answers['POST live/tickets'] = { ticket: 'qt_2', expires_at_ms: 1 };
    page.sockets.newest.close();
    window.dispatchEvent(new Event('online'));
    await settle();
    expect([page.sockets.opened.length, page.sockets.newest.url.split('=')[1]]).toEqual([2, 'qt_2']);
  });

  it('tries again where no ticket is to be had now', async () => {
    await open(VIEWER, { 'POST live/tickets': new Refusal(503) });
    expect(page.sockets.opened).toHaveLength(0);
    page.answers['POST live/tickets'] = { ticket: 'qt_2', expires_at_ms: 1 };
    window.dispatchEvent(new Event('online'));
    await settle();
    expect([page.sockets.opened.length, element().querySelector('q-sign-in')]).toEqual([1, null]);
  });

  it('offers to sign in again when the session is over, and to come back to the same page', async () => {
    await open(VIEWER);
    page.sockets.newest.accept();
    page.answers['POST live/tickets'] = new Refusal(401, 'the session is over: sign in again');
    page.sockets.newest.close();
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(text()).toContain('Your session is over. Sign in again, and you come back to this page.');
    expect(element().querySelector<HTMLAnchorElement>('q-sign-in a')!.getAttribute('href')).toBe('/api/v1/login?to=%2Falerts%3Fstate%3Dfiring');
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(page.sockets.opened).toHaveLength(1);
  });

  it.each([['', '/'], ['https://sso.example/logout', 'https://sso.example/logout']])('signs out, and leaves (%s)', async (end_session, to) => {
    await open(VIEWER, { 'POST logout': { end_session } });
    await click('Sign out');
    expect([page.requests('POST logout').length, left]).toEqual([1, [to]]);
  });

  it('says why it cannot sign out', async () => {
    await open(VIEWER, { 'POST logout': new Refusal(503, 'Redis does not answer') });
    await click('Sign out');
    expect([element().querySelector('.banner')!.textContent, left]).toEqual(['Redis does not answer', []]);
  });

  it('says so to somebody whose tenant is another, and lets them sign out', async () => {
    await open(new Refusal(403, 'eve is of another tenant'), { 'POST logout': { end_session: '' } });
    expect(element().querySelector('[role=alert]')!.textContent).toBe('eve is of another tenant');
    expect([page.asked.length, page.sockets.opened.length]).toEqual([1, 0]);
    await click('Sign out');
    expect(left).toEqual(['/']);
  });

  it('asks again who it is while that cannot be said', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    page = new Page({ 'GET session': new Refusal(503), ...ALERTS });
    shell = TestBed.createComponent(Shell);
    await vi.advanceTimersByTimeAsync(10);
    page.answers['GET session'] = VIEWER;
    page.answers['POST live/tickets'] = { ticket: 'qt_1', expires_at_ms: 1 };
    await vi.advanceTimersByTimeAsync(5000);
    shell.detectChanges();
    expect(element().querySelector('.who')!.textContent).toContain('vera');
  });

  it('has a palette that leaves out what one may not see', async () => {
    await open(VIEWER);
    TestBed.inject(Dialog).open(Palette);
    await settle();
    const words = document.querySelector('q-palette')!.textContent;
    expect([words?.includes('Models'), words?.includes('API keys'), words?.includes('Audit')]).toEqual([true, false, false]);
    TestBed.inject(Dialog).closeAll();
    await settle();
  });
});
