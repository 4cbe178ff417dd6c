import { ChangeDetectionStrategy, Component, DestroyRef, ElementRef, computed, effect, inject, input, signal, viewChild } from '@angular/core';
import { Router, RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { SeriesItem } from '../api/messages';
import { Badge } from '../parts/badge';
import { compact, count, labelLine, many, range } from '../parts/format';
import { Column, nextSorting, readSorting, sorted } from './sorting';

const REFRESH_MS = 3000;

@Component({
  selector: 'q-explore',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><h1>Explore</h1><p class="muted">{{ total() === null ? '' : cursor() ? count(items().length) + ' of ' + count(total()!) + ' series' : many(total()!, 'series', 'series') }}</p></div>
    <label class="field"><span>Words that occur in the series, or a selector such as <code>host_cpu_busy_ratio&#123;host=~"web-.*"&#125;</code></span>
      <input #box type="search" id="search" aria-keyshortcuts="/" autocapitalize="off" (input)="search(box.value)" placeholder="cpu" autocomplete="off" spellcheck="false"></label>
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    <section class="card scroll" aria-label="Series found">
      <table class="stacks">
        <thead><tr>
          @for (one of columns; track one.column) {
            <th [class.number]="one.isNumber" [attr.aria-sort]="sorting()?.column === one.column ? (sorting()!.falling ? 'descending' : 'ascending') : null">
              @if (one.column) { <button type="button" class="sort" (click)="sort(one.column)">{{ one.name }}<span aria-hidden="true">{{ sorting()?.column !== one.column ? '' : sorting()!.falling ? ' ↓' : ' ↑' }}</span></button> } @else { {{ one.name }} }
            </th>
          }
        </tr></thead>
        <tbody>
          @for (one of rows(); track one.fingerprint) {
            <tr><td><a [routerLink]="['/series', one.fingerprint]"><b>{{ one.name }}</b></a>&ngsp;<span class="muted small">{{ labelLine(one.labels) }}</span></td>
              <td data-label="Status"><q-badge [kind]="one.status" /></td><td class="number" data-label="Value">{{ compact(one.value) }}</td>
              <td class="number muted" data-label="Usual range">{{ range(one.lower, one.upper) }}</td>
              <td class="number" data-label="Score" [style.color]="one.score >= 0.3 ? 'var(--odd)' : null">{{ one.score.toFixed(2) }}</td></tr>
          } @empty {
            <tr><td colspan="5"><div class="empty">{{ total() === null ? (error() ? 'They could not be read.' : 'Reading…') : q() ? 'No series has these words. Try fewer of them.' : 'No series yet: the overview says how to send some.' }}</div></td></tr>
          }
        </tbody>
      </table>
    </section>
    @if (cursor() && sorting()) { <p class="muted small">Sorted among the {{ count(items().length) }} that are shown; type a word to see fewer.</p> }
    @if (cursor()) { <div class="actions"><button class="button" type="button" (click)="more()">Show more</button></div> }
  </div>`,
})
export class Explore {
  readonly q = input<string>();
  readonly order = input<string>();
  private readonly box = viewChild.required<ElementRef<HTMLInputElement>>('box');
  protected readonly sorting = computed(() => readSorting(this.order()));
  protected readonly rows = computed(() => sorted(this.items(), this.sorting()));
  protected readonly columns: { name: string; column: Column | null; isNumber: boolean }[] = [
    { name: 'Series', column: 'series', isNumber: false }, { name: 'Status', column: 'status', isNumber: false }, { name: 'Value', column: 'value', isNumber: true },
    { name: 'Usual range', column: null, isNumber: true }, { name: 'Score', column: 'score', isNumber: true },
  ];
  protected readonly items = signal<SeriesItem[]>([]);
  protected readonly total = signal<number | null>(null);
  protected readonly cursor = signal<string | null>(null);
  protected readonly error = signal('');
  protected readonly compact = compact;
  protected readonly range = range;
  protected readonly count = count;
  protected readonly labelLine = labelLine;
  protected readonly many = many;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private shown = 100;

  constructor() {
    effect(() => {
      const q = this.q() ?? '', box = this.box().nativeElement;
      // somebody who types is ahead of the address
      if (document.activeElement !== box) box.value = q;
      void this.load(q);
    });
    const timer = setInterval(() => document.hidden || void this.load(this.q() ?? ''), REFRESH_MS);
    inject(DestroyRef).onDestroy(() => clearInterval(timer));
  }

  protected search(q: string): void {
    this.shown = 100;
    void this.router.navigate([], { queryParams: { q: q || null }, queryParamsHandling: 'merge', replaceUrl: true });
  }

  protected sort(column: Column): void {
    void this.router.navigate([], { queryParams: { order: nextSorting(this.sorting(), column) }, queryParamsHandling: 'merge', replaceUrl: true });
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
