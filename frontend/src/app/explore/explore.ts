import { ChangeDetectionStrategy, Component, DestroyRef, effect, inject, input, signal } from '@angular/core';
import { Router, RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { SeriesItem } from '../api/messages';
import { Badge } from '../parts/badge';
import { compact, labelLine } from '../parts/format';

const REFRESH_MS = 3000;

@Component({
  selector: 'q-explore',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><h1>Explore</h1><p class="muted">{{ total() === null ? '' : total() + ' series' }}</p></div>
    <label class="field"><span>Words that occur in the series, or a selector such as <code>host_cpu_busy_ratio&#123;host=~"web-.*"&#125;</code></span>
      <input #box type="search" [value]="q() ?? ''" (input)="search(box.value)" placeholder="cpu" autocomplete="off" spellcheck="false"></label>
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    <section class="card scroll" aria-label="Series found">
      <table>
        <thead><tr><th>Series</th><th>Status</th><th class="number">Value</th><th class="number">Usual range</th><th class="number">Score</th></tr></thead>
        <tbody>
          @for (one of items(); track one.fingerprint) {
            <tr><td><a [routerLink]="['/series', one.fingerprint]"><b>{{ one.name }}</b></a> <span class="muted small">{{ labelLine(one.labels) }}</span></td>
              <td><q-badge [kind]="one.status" /></td><td class="number">{{ compact(one.value) }}</td>
              <td class="number muted">{{ one.lower === null ? '–' : compact(one.lower) + ' to ' + compact(one.upper) }}</td>
              <td class="number" [style.color]="one.score >= 0.3 ? 'var(--odd)' : null">{{ one.score.toFixed(2) }}</td></tr>
          } @empty {
            <tr><td colspan="5"><div class="empty">{{ total() === null ? 'Reading…' : q() ? 'No series has these words. Try fewer of them.' : 'No series yet: the overview says how to send some.' }}</div></td></tr>
          }
        </tbody>
      </table>
    </section>
    @if (cursor()) { <div class="actions"><button class="button" type="button" (click)="more()">Show more</button></div> }
  </div>`,
})
export class Explore {
  readonly q = input<string>();
  protected readonly items = signal<SeriesItem[]>([]);
  protected readonly total = signal<number | null>(null);
  protected readonly cursor = signal<string | null>(null);
  protected readonly error = signal('');
  protected readonly compact = compact;
  protected readonly labelLine = labelLine;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private shown = 100;

  constructor() {
    effect(() => void this.load(this.q() ?? ''));
    const timer = setInterval(() => void this.load(this.q() ?? ''), REFRESH_MS);
    inject(DestroyRef).onDestroy(() => clearInterval(timer));
  }

  protected search(q: string): void {
    this.shown = 100;
    void this.router.navigate([], { queryParams: { q: q || null }, replaceUrl: true });
  }

  protected more(): void {
    this.shown = Math.min(1000, this.shown + 200);
    void this.load(this.q() ?? '');
  }

  private async load(q: string): Promise<void> {
    try {
      const page = await this.api.findSeries(q, this.shown);
      if (q !== (this.q() ?? '')) return;
      this.items.set(page.items);
      this.total.set(page.total);
      this.cursor.set(page.next_cursor);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
