import { Dialog } from '@angular/cdk/dialog';
import { HttpErrorResponse } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, DestroyRef, HostListener, InjectionToken, computed, inject, signal } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import { NavigationEnd, Router, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import { filter } from 'rxjs';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { Me } from '../api/me';
import { Right } from '../api/messages';
import { Clock } from '../parts/clock';
import { duration, zone } from '../parts/format';
import { Theme, ThemeChoice } from '../parts/theme';
import { Help } from './help';
import { Palette } from './palette';
import { SignIn } from './sign-in';

const STRANGER = 'You are not signed in, so there is nothing to see here: this Quantum wants an access token with every request.';
const FORBIDDEN = 403;
const ASK_AGAIN_MS = 5000;
const CHORD_MS = 1200;
const LOST_AFTER_MS = 3000;
const MINUTE_MS = 60_000;

/** How another address is gone to; tests hand in their own. */
export const LEAVE = new InjectionToken<(url: string) => void>('leave', { providedIn: 'root', factory: () => (url: string) => location.assign(url) });

interface Link { path: string; name: string; key: string; right: Right }

const LINKS: Link[] = [
  { path: '/', name: 'Overview', key: 'g o', right: 'read' },
  { path: '/explore', name: 'Explore', key: 'g e', right: 'read' },
  { path: '/alerts', name: 'Alerts', key: 'g a', right: 'read' },
  { path: '/incidents', name: 'Incidents', key: 'g i', right: 'read' },
  { path: '/policies', name: 'Policies', key: 'g p', right: 'read' },
  { path: '/silences', name: 'Silences', key: 'g s', right: 'read' },
  { path: '/routes', name: 'Routes', key: 'g r', right: 'read' },
  { path: '/replay', name: 'Time machine', key: 'g t', right: 'read' },
  { path: '/models', name: 'Models', key: 'g m', right: 'read' },
  { path: '/audit', name: 'Audit', key: 'g u', right: 'administer' },
  { path: '/keys', name: 'Keys', key: 'g k', right: 'administer' },
];

@Component({
  selector: 'q-shell',
  imports: [RouterOutlet, RouterLink, RouterLinkActive, SignIn],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './shell.html',
  styleUrl: './shell.scss',
})
export class Shell {
  protected readonly theme = inject(Theme);
  protected readonly live = inject(Live);
  protected readonly banner = signal('');
  protected readonly choices: ThemeChoice[] = ['system', 'light', 'dark'];
  protected readonly me = inject(Me);
  protected readonly links = computed(() => LINKS.filter((link) => this.me.may(link.right)));
  /** Whether it was asked who this is, and there was an answer of some kind. */
  protected readonly known = signal(false);
  /** Why somebody who is signed in sees nothing at all, and is not let in; empty if they are. */
  protected readonly shut = signal('');
  /** The address within the dashboard. */
  protected readonly here = signal('/');
  protected readonly lost = computed(() => {
    const ageMs = this.clock.nowMs() - this.live.lastMessageMs();
    return this.live.connection() === 'lost' && !this.me.mustSignIn() && this.live.lastMessageMs() && ageMs > LOST_AFTER_MS ? duration(ageMs) : '';
  });
  protected readonly state = computed(() => {
    if (this.live.connection() === 'live') return { kind: 'ok', text: 'Live' };
    if (this.live.connection() === 'connecting') return { kind: 'late', text: 'Connecting' };
    return { kind: 'late', text: 'Reconnecting' };
  });
  /** The zone of every time that is shown; its distance from UTC changes with the season. */
  protected readonly zone = computed(() => zone(Math.floor(this.clock.nowMs() / MINUTE_MS) * MINUTE_MS));
  private readonly api = inject(Api);
  private readonly clock = inject(Clock);
  private readonly router = inject(Router);
  private readonly dialog = inject(Dialog);
  private readonly leave = inject(LEAVE);
  private readonly destroyed = inject(DestroyRef);
  private chordUntil = 0;
  private path = '';

  constructor() {
    // where the pages do not fit side by side, the one that is shown is brought into sight
    this.router.events.pipe(filter((event) => event instanceof NavigationEnd), takeUntilDestroyed()).subscribe((event) => {
      setTimeout(() => document.querySelector('nav [aria-current=page]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }));
      this.here.set(event.urlAfterRedirects);
      this.follow(event.urlAfterRedirects.split('?')[0]);
    });
    void this.introduce();
  }

  /** Find out who this is; nothing is read before, so that nobody is refused who only has to sign in. */
  private async introduce(): Promise<void> {
    try {
      const session = await this.api.session();
      this.me.session.set(session);
      this.banner.set(session.subject || session.sign_in ? session.banner : STRANGER);
    } catch (error) {
      if (error instanceof HttpErrorResponse && error.status === FORBIDDEN) return this.shut.set(sentence(error));
      const again = setTimeout(() => void this.introduce(), ASK_AGAIN_MS);
      this.destroyed.onDestroy(() => clearTimeout(again));
    }
    if (this.known()) return;
    this.known.set(true);
    this.live.watch('overview', () => undefined);
  }

  protected async signOut(): Promise<void> {
    try {
      this.leave((await this.api.signOut()).end_session || '/');
    } catch (error) {
      this.banner.set(sentence(error));
    }
  }

  protected openPalette(): void {
    if (this.me.mustSignIn()) return;
    this.dialog.open(Palette, { ariaLabel: 'Go to', panelClass: 'palette' });
  }

  protected openHelp(): void {
    this.dialog.open(Help, { ariaLabel: 'Keyboard' });
  }

  protected toContent(event: Event): void {
    event.preventDefault();
    document.getElementById('content')?.focus();
  }

  /** Come back at once when the network or the reader does. */
  @HostListener('window:online')
  @HostListener('document:visibilitychange')
  protected wake(): void {
    if (!document.hidden && this.live.connection() === 'lost') this.live.retryNow();
  }

  /** Let the focus go where the reader went: to the page, unless only its query changed or it is the first. */
  private follow(path: string): void {
    if (this.path && this.path !== path) document.getElementById('content')?.focus({ preventScroll: true });
    this.path = path;
  }

  private search(): void {
    const box = document.getElementById('search') as HTMLInputElement | null;
    if (!box) return this.openPalette();
    box.focus();
    box.select();
  }

  @HostListener('document:keydown', ['$event'])
  protected onKey(event: KeyboardEvent): void {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      if (!this.dialog.openDialogs.length) this.openPalette();
      return;
    }
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || isTypedInto(target) || this.dialog.openDialogs.length) return;
    if (event.key === '/') {
      event.preventDefault();
      this.search();
    } else if (event.key === '?') this.openHelp();
    else if (event.key === 'g') this.chordUntil = Date.now() + CHORD_MS;
    else if (Date.now() < this.chordUntil) {
      const link = this.links().find((one) => one.key === `g ${event.key}`);
      if (!link) return;
      this.chordUntil = 0;
      void this.router.navigateByUrl(link.path);
    }
  }
}

/** Whether keys belong to an element, so that none of them is a shortcut. */
function isTypedInto(target: HTMLElement): boolean {
  const typed = target instanceof HTMLInputElement && !['checkbox', 'radio', 'button'].includes(target.type);
  return typed || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
