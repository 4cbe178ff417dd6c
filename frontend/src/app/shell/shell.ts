import { Dialog } from '@angular/cdk/dialog';
import { ChangeDetectionStrategy, Component, HostListener, computed, inject, signal } from '@angular/core';
import { Router, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import { Api } from '../api/api';
import { Live } from '../api/live';
import { Clock } from '../parts/clock';
import { duration } from '../parts/format';
import { Theme, ThemeChoice } from '../parts/theme';
import { Help } from './help';
import { Palette } from './palette';

const PAGES: Record<string, string> = { o: '/', e: '/explore', a: '/alerts', i: '/incidents', p: '/policies' };
const CHORD_MS = 1200;

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
  ];
  protected readonly state = computed(() => {
    const age = this.clock.nowMs() - this.live.lastMessageMs();
    if (this.live.connection() === 'live') return { kind: 'ok', text: 'Live' };
    if (this.live.connection() === 'connecting') return { kind: 'late', text: 'Connecting' };
    return { kind: 'late', text: this.live.lastMessageMs() ? `Reconnecting · data is ${duration(age)} old` : 'Reconnecting' };
  });
  private readonly api = inject(Api);
  private readonly clock = inject(Clock);
  private readonly router = inject(Router);
  private readonly dialog = inject(Dialog);
  private chordUntil = 0;

  constructor() {
    this.live.watch('overview', () => undefined);
    this.api.session().then((session) => this.banner.set(session.banner), () => undefined);
  }

  protected openPalette(): void {
    this.dialog.open(Palette, { ariaLabel: 'Go to', panelClass: 'palette' });
  }

  @HostListener('document:keydown', ['$event'])
  protected onKey(event: KeyboardEvent): void {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      if (!this.dialog.openDialogs.length) this.openPalette();
      return;
    }
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA|SELECT/.test(target.tagName) || this.dialog.openDialogs.length) return;
    if (event.key === '?') this.dialog.open(Help, { ariaLabel: 'Keyboard' });
    else if (event.key === 'g') this.chordUntil = Date.now() + CHORD_MS;
    else if (Date.now() < this.chordUntil && PAGES[event.key]) {
      this.chordUntil = 0;
      void this.router.navigateByUrl(PAGES[event.key]);
    }
  }
}
