import { Dialog } from '@angular/cdk/dialog';
import { ChangeDetectionStrategy, Component, HostListener, computed, inject, signal } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import { NavigationEnd, Router, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import { filter } from 'rxjs';
import { Api } from '../api/api';
import { Live } from '../api/live';
import { Clock } from '../parts/clock';
import { duration, zone } from '../parts/format';
import { Theme, ThemeChoice } from '../parts/theme';
import { Help } from './help';
import { Palette } from './palette';

const PAGES: Record<string, string> = { o: '/', e: '/explore', a: '/alerts', i: '/incidents', p: '/policies', t: '/replay', m: '/models', u: '/audit', k: '/keys' };
const STRANGER = 'You are not signed in, so there is nothing to see here: this Quantum wants an access token with every request.';
const CHORD_MS = 1200;
const LOST_AFTER_MS = 3000;
const MINUTE_MS = 60_000;

@Component({
  selector: 'q-shell',
  imports: [RouterOutlet, RouterLink, RouterLinkActive],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './shell.html',
  styleUrl: './shell.scss',
})
export class Shell {
  protected readonly theme = inject(Theme);
  protected readonly live = inject(Live);
  protected readonly banner = signal('');
  protected readonly choices: ThemeChoice[] = ['system', 'light', 'dark'];
  protected readonly links = [
    { path: '/', name: 'Overview', key: 'g o' },
    { path: '/explore', name: 'Explore', key: 'g e' },
    { path: '/alerts', name: 'Alerts', key: 'g a' },
    { path: '/incidents', name: 'Incidents', key: 'g i' },
    { path: '/policies', name: 'Policies', key: 'g p' },
    { path: '/replay', name: 'Time machine', key: 'g t' },
    { path: '/models', name: 'Models', key: 'g m' },
    { path: '/audit', name: 'Audit', key: 'g u' },
    { path: '/keys', name: 'Keys', key: 'g k' },
  ];
  protected readonly lost = computed(() => {
    const ageMs = this.clock.nowMs() - this.live.lastMessageMs();
    return this.live.connection() === 'lost' && this.live.lastMessageMs() && ageMs > LOST_AFTER_MS ? duration(ageMs) : '';
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
  private chordUntil = 0;
  private path = '';

  constructor() {
    // where the pages do not fit side by side, the one that is shown is brought into sight
    this.router.events.pipe(filter((event) => event instanceof NavigationEnd), takeUntilDestroyed()).subscribe((event) => {
      setTimeout(() => document.querySelector('nav [aria-current=page]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }));
      this.follow(event.urlAfterRedirects.split('?')[0]);
    });
    this.live.watch('overview', () => undefined);
    this.api.session().then((session) => this.banner.set(session.subject ? session.banner : STRANGER), () => undefined);
  }

  protected openPalette(): void {
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
    else if (Date.now() < this.chordUntil && PAGES[event.key]) {
      this.chordUntil = 0;
      void this.router.navigateByUrl(PAGES[event.key]);
    }
  }
}

/** Whether keys belong to an element, so that none of them is a shortcut. */
function isTypedInto(target: HTMLElement): boolean {
  const typed = target instanceof HTMLInputElement && !['checkbox', 'radio', 'button'].includes(target.type);
  return typed || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
