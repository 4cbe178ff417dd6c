import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { CoveragePage, SeriesItem, Tier } from '../api/messages';
import { count, labelLine, many } from '../parts/format';

const TIERS: Record<Tier, string> = { full: 'full detector', cheap: 'cheap detector', none: 'stored, not scored' };

/** How many series are listed at first, and each time more are asked for. */
const FIRST = 10, MORE = 100;

/** How many series each detector watches, what decides that, and which are not watched in full. */
@Component({
  selector: 'q-coverage',
  imports: [RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<section class="card" aria-labelledby="coverage"><header><h2 id="coverage">How closely series are watched</h2></header>
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    @if (found(); as now) {
      <div class="body"><p><b>{{ count(now.full) }}</b> with the full detector, <b>{{ count(now.cheap) }}</b> with the cheap one, <b>{{ count(now.none) }}</b> stored and not scored.
        <span class="muted">The first {{ many(now.full_series, 'series', 'series') }} get the full one{{ now.rules.length ? ', unless a rule decides' : '' }}.</span></p>
        @for (rule of now.rules; track $index) { <p class="small"><span class="muted">Rule {{ $index + 1 }}:</span>&ngsp;<span class="mono">{{ rule.match }}</span>&ngsp;<span class="muted">gets</span>&ngsp;{{ tiers[rule.tier] }}</p> }</div>
      <ul class="rows" aria-label="Series that are not watched in full">
        @for (one of items(); track one.fingerprint) {
          <li><a class="row" [routerLink]="['/series', one.fingerprint]"><span class="grow"><b class="lines">{{ one.name }}</b><span class="clip muted small">{{ labelLine(one.labels) }}</span></span>
            <span class="small">{{ tiers[one.tier] }}: <span class="muted">{{ one.tier_reason }}</span></span></a></li>
        } @empty { <li class="empty">Every series is watched in full.</li> }
      </ul>
      @if (now.next_cursor) { <div class="body"><button class="button" type="button" [disabled]="busy()" (click)="more(now.next_cursor)">More</button></div> }
    } @else { <p class="empty">{{ error() ? 'It could not be read.' : 'Reading…' }}</p> }
  </section>`,
})
export class Coverage {
  /** The newest page that was read. */
  protected readonly found = signal<CoveragePage | null>(null);
  /** Series of all pages that were read. */
  protected readonly items = signal<SeriesItem[]>([]);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly tiers = TIERS;
  protected readonly count = count;
  protected readonly many = many;
  protected readonly labelLine = labelLine;
  private readonly api = inject(Api);

  constructor() {
    void this.more(null);
  }

  protected async more(cursor: string | null): Promise<void> {
    this.busy.set(true);
    try {
      const page = await this.api.coverage(cursor, cursor ? MORE : FIRST);
      this.items.update((items) => [...items, ...page.items]);
      this.found.set(page);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.busy.set(false);
    }
  }
}
