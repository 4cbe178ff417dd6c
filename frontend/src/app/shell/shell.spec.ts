import { Dialog } from '@angular/cdk/dialog';
import { ComponentFixture, TestBed } from '@angular/core/testing';
import { NavigationEnd, Router } from '@angular/router';
import { NEVER, filter, firstValueFrom } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { aSeries, aSession, anOverview } from '../../testing/things';
import { Palette } from './palette';
import { Shell } from './shell';

describe('the frame of every page', () => {
  let page: Page;
  let shell: ComponentFixture<Shell>;

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setInterval'] });
    page = new Page({
      'GET session': aSession({ means: 'stub', banner: 'No sign-in.' }), 'GET overview': anOverview(),
      'GET series': { items: [aSeries({ name: 'cpu_busy' })], total: 1, next_cursor: null }, 'GET alerts': { items: [], next_cursor: null },
    });
    shell = TestBed.createComponent(Shell);
    document.body.append(shell.nativeElement as HTMLElement);
    await TestBed.inject(Router).navigateByUrl('/alerts');
    await settle();
  });

  afterEach(async () => {
    TestBed.inject(Dialog).closeAll();
    await settle();
    vi.useRealTimers();
  });

  const settle = async () => {
    for (let turn = 0; turn < 4; turn++) {
      await new Promise((resolve) => setTimeout(resolve));
      shell.detectChanges();
    }
  };
  const text = () => (document.body.textContent ?? '').replace(/\s+/g, ' ');
  const press = async (key: string, more: KeyboardEventInit = {}, target: EventTarget = document.body) => {
    const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more });
    target.dispatchEvent(event);
    await settle();
    return event;
  };
  const url = () => TestBed.inject(Router).url;
  /** Do something that leads to another page, and wait until it is there: pages are loaded when they are first seen. */
  const arrive = async (go: () => Promise<unknown>) => {
    const there = firstValueFrom(TestBed.inject(Router).events.pipe(filter((event) => event instanceof NavigationEnd)));
    await go();
    await there;
    await settle();
  };

  it('shows what the session warns of, where one is, and in which time zone times are', () => {
    expect(text()).toContain('No sign-in.');
    expect(document.querySelector('[aria-current=page]')?.textContent).toBe('Alerts');
    expect(text()).toMatch(/Times are in \S+/);
  });

  it.each([['o', '/'], ['e', '/explore'], ['a', '/alerts'], ['i', '/incidents'], ['p', '/policies'], ['s', '/silences'], ['r', '/routes'], ['t', '/replay'], ['m', '/models'], ['k', '/keys']])('goes with g %s to %s', async (key, path) => {
    Object.assign(page.answers, { 'GET incidents': NEVER, 'GET policies': NEVER, 'GET receivers': NEVER });
    await TestBed.inject(Router).navigateByUrl('/nowhere');
    await press('g');
    await arrive(() => press(key));
    expect(url()).toBe(path);
  });

  it('does not take a letter for a way that began long ago', async () => {
    await press('g');
    vi.advanceTimersByTime(2000);
    await press('e');
    expect(url()).toBe('/alerts');
  });

  it('leaves keys to whoever types, and to the browser', async () => {
    const box = document.createElement('textarea');
    document.body.append(box);
    for (const key of ['?', '/', 'g', 'e']) await press(key, {}, box);
    await press('g', { ctrlKey: true });
    await press('e');
    box.remove();
    expect([url(), TestBed.inject(Dialog).openDialogs.length]).toEqual(['/alerts', 0]);
  });

  it('explains its keys with ?, and closes with Esc', async () => {
    await press('?');
    for (const words of ['Keyboard', 'Time machine', 'Search']) expect(document.querySelector('q-help')?.textContent).toContain(words);
    await press('Escape', { keyCode: 27 } as KeyboardEventInit, document.querySelector('q-help')!);
    expect(TestBed.inject(Dialog).openDialogs).toHaveLength(0);
  });

  it('searches with /: in the box of the page if it has one, else everywhere', async () => {
    expect((await press('/')).defaultPrevented).toBe(true);
    expect(document.querySelector('q-palette')).not.toBeNull();
    TestBed.inject(Dialog).closeAll();
    await TestBed.inject(Router).navigateByUrl('/explore');
    await settle();
    (document.activeElement as HTMLElement).blur();
    await press('/');
    expect([document.activeElement?.id, document.querySelector('q-palette')]).toEqual(['search', null]);
  });

  it('opens one palette, not two, with Ctrl K', async () => {
    await press('k', { ctrlKey: true });
    await press('k', { metaKey: true });
    expect(document.querySelectorAll('q-palette')).toHaveLength(1);
  });

  it('lets the focus follow to another page, and stay within one', async () => {
    const link = [...document.querySelectorAll<HTMLElement>('nav a')].find((one) => one.textContent === 'Explore')!;
    link.focus();
    await arrive(async () => link.click());
    expect(document.activeElement?.id).toBe('content');
    const box = document.querySelector<HTMLElement>('#search')!;
    box.focus();
    await TestBed.inject(Router).navigateByUrl('/explore?q=cpu');
    await settle();
    expect(document.activeElement).toBe(box);
  });

  it('skips to the content without leaving the page', async () => {
    document.querySelector<HTMLElement>('.skip')!.click();
    await settle();
    expect([document.activeElement?.id, url()]).toEqual(['content', '/alerts']);
  });

  it('says Live when it is, and how old what one sees is when it is not', async () => {
    expect(text()).toContain('Connecting');
    page.sockets.newest.accept();
    page.sockets.newest.publish('overview', 1);
    await settle();
    expect(document.querySelector('[role=status]')?.textContent).toBe('Live');
    page.sockets.newest.close();
    await settle();
    expect(document.querySelector('[role=status]')?.textContent).toBe('Reconnecting');
    expect(document.querySelector('.lost')).toBeNull();
    vi.advanceTimersByTime(65_000);
    await settle();
    expect(document.querySelector('.lost')?.textContent).toMatch(/lost\. *What you see is 1 min old/);
  });

  it('connects again at once when asked to, when the network is back, and when somebody looks', async () => {
    for (const ask of [() => document.querySelector<HTMLElement>('.lost button')!.click(), () => window.dispatchEvent(new Event('online')), () => document.dispatchEvent(new Event('visibilitychange'))]) {
      page.sockets.newest.accept();
      page.sockets.newest.publish('overview', 1);
      page.sockets.newest.close();
      vi.advanceTimersByTime(5000);
      await settle();
      const before = page.sockets.opened.length;
      ask();
      expect(page.sockets.opened).toHaveLength(before + 1);
    }
  });

  it('says so to who is not signed in', async () => {
    page.answers['GET session'] = aSession({ subject: '', roles: [], may: [], means: '' });
    const other = TestBed.createComponent(Shell);
    await settle();
    other.detectChanges();
    expect((other.nativeElement as HTMLElement).querySelector('.banner')?.textContent).toContain('You are not signed in');
  });

  it('does without the session if it cannot be had', async () => {
    page.answers['GET session'] = new Refusal(503);
    const other = TestBed.createComponent(Shell);
    await settle();
    other.detectChanges();
    expect((other.nativeElement as HTMLElement).querySelector('.banner')).toBeNull();
  });

  describe('has a palette', () => {
    const box = () => document.querySelector<HTMLInputElement>('q-palette input')!;
    const options = () => [...document.querySelectorAll('q-palette [role=option] b')].map((one) => one.textContent);
    const type = async (words: string) => {
      box().value = words;
      box().dispatchEvent(new Event('input'));
      await settle();
    };

    beforeEach(async () => {
      TestBed.inject(Dialog).open(Palette);
      await settle();
    });

    it('that offers the pages', () => expect(options()).toEqual(['Overview', 'Explore', 'Alerts', 'Incidents', 'Policies', 'Silences', 'Routes', 'Time machine', 'Models', 'Audit', 'API keys', 'API documentation']));

    it('that finds pages and series by words, and goes there with Enter', async () => {
      await type('cpu');
      expect(options()).toEqual(['cpu_busy']);
      page.answers['GET series/00000000000000aa/window'] = NEVER;
      await arrive(() => press('Enter', {}, box()));
      expect([url(), TestBed.inject(Dialog).openDialogs.length]).toEqual(['/series/00000000000000aa', 0]);
    });

    it('that moves with the arrows, around both ends, and says where it is', async () => {
      const at = () => box().getAttribute('aria-activedescendant');
      await press('ArrowUp', {}, box());
      expect(at()).toBe('choice-11');
      await press('ArrowDown', {}, box());
      await press('ArrowDown', {}, box());
      expect(at()).toBe('choice-1');
      expect(document.querySelector('[aria-selected=true]')?.id).toBe('choice-1');
    });

    it('that says when there is nothing, and when series cannot be asked', async () => {
      page.answers['GET series'] = new Refusal(503);
      await type('zzz');
      expect(document.querySelector('q-palette')?.textContent).toContain('Nothing is called that.');
      expect((await press('Enter', {}, box())).defaultPrevented).toBe(false);
    });
  });
});

describe('an address that leads nowhere', () => {
  it('says so and leads back', async () => {
    const page = await Page.open('/no/such/page', {});
    expect(page.find('h1').textContent).toBe('There is nothing here');
    expect(page.find('a').getAttribute('href')).toBe('/');
  });
});
