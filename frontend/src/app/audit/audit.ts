import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal } from '@angular/core';
import { Router } from '@angular/router';
import { Api, sentence } from '../api/api';
import { AuditItem, Outcome } from '../api/messages';
import { moment } from '../parts/format';

const FILTERS: Record<string, Outcome[]> = { all: [], done: ['done'], refused: ['refused'], denied: ['denied'] };
const EMPTY: Record<string, string> = {
  all: 'Nobody has changed anything or signed in yet.', done: 'Nobody has changed anything or signed in yet.', refused: 'Nothing was refused.', denied: 'Nobody was denied anything.',
};

/** Who changed what, when and from where, who signed in and out, and what was refused and denied. */
@Component({
  selector: 'q-audit',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><h1>Audit</h1>
      <input id="search" type="search" aria-label="Search in who, what and from where" placeholder="Who, what or from where" [value]="q() ?? ''" (change)="search($event)">
      <div class="segmented" role="group" aria-label="Which entries">
        @for (name of names; track name) { <button type="button" [attr.aria-pressed]="name === which()" (click)="choose(name)">{{ name }}</button> }
      </div></div>
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    <section class="card" aria-label="Entries"><ul class="rows">
      @for (one of items() ?? []; track one.id) {
        <li class="row"><span class="grow"><b class="lines">{{ one.action.replaceAll('_', ' ') }} {{ one.target }}</b>
          <span class="muted small lines">{{ moment(one.at_ms) }} · {{ one.actor || 'somebody unknown' }}{{ one.origin ? ' from ' + one.origin : '' }}{{ one.detail ? ' · ' + one.detail : '' }}</span>
          @if (one.changes.length) { <details><summary class="small">What is different</summary>
            @for (change of one.changes; track change.name) { <div class="small mono lines">{{ change.name }}: {{ change.before || 'nothing' }} → {{ change.after || 'nothing' }}</div> }
          </details> }</span>
          <span class="chip">{{ one.outcome }}</span></li>
      } @empty { <li class="empty">{{ items() ? empty() : error() ? 'It could not be read.' : 'Reading…' }}</li> }
    </ul></section>
    @if (cursor()) { <div class="actions"><button class="button" type="button" (click)="more()">Older entries</button></div> }
  </div>`,
})
export class Audit {
  readonly outcome = input<string>();
  readonly q = input<string>();
  protected readonly names = Object.keys(FILTERS);
  protected readonly which = computed(() => (this.outcome() && FILTERS[this.outcome()!] ? this.outcome()! : 'all'));
  protected readonly empty = computed(() => (this.q() ? 'Nothing like that is in the log.' : EMPTY[this.which()]));
  protected readonly items = signal<AuditItem[] | null>(null);
  protected readonly cursor = signal<string | null>(null);
  protected readonly error = signal('');
  protected readonly moment = moment;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private asked = 0;

  constructor() {
    effect(() => {
      this.which();
      this.q();
      this.items.set(null);
      this.cursor.set(null);
      void this.read();
    });
  }

  protected choose(outcome: string): void {
    void this.router.navigate([], { queryParams: { outcome }, queryParamsHandling: 'merge' });
  }

  protected search(event: Event): void {
    const q = (event.target as HTMLInputElement).value.trim() || null;
    void this.router.navigate([], { queryParams: { q }, queryParamsHandling: 'merge' });
  }

  protected more(): void {
    void this.read(this.cursor());
  }

  /** Read a page and show it after those that were read; what was asked before and comes later is left aside. */
  private async read(cursor: string | null = null): Promise<void> {
    const asked = ++this.asked;
    try {
      const page = await this.api.audit(FILTERS[this.which()], this.q() ?? '', cursor);
      if (asked !== this.asked) return;
      this.items.update((items) => [...(cursor ? (items ?? []) : []), ...page.items]);
      this.cursor.set(page.next_cursor);
      this.error.set('');
    } catch (error) {
      if (asked === this.asked) this.error.set(sentence(error));
    }
  }
}
