import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { Router, RouterLink } from '@angular/router';
import { Api } from '../api/api';
import { IncidentItem, IncidentState } from '../api/messages';
import { Badge } from '../parts/badge';
import { Clock } from '../parts/clock';
import { duration, many } from '../parts/format';
import { LiveList } from '../parts/live-list';

const FILTERS: Record<string, IncidentState[]> = { open: ['open', 'acknowledged'], resolved: ['resolved'], all: [] };

@Component({
  selector: 'q-incidents',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><h1>Incidents</h1>
      <div class="segmented" role="group" aria-label="Which incidents">
        @for (name of names; track name) { <button type="button" [attr.aria-pressed]="name === which()" (click)="choose(name)">{{ name }}</button> }
      </div></div>
    @if (list.error()) { <p class="error" role="alert">{{ list.error() }}</p> }
    <section class="card" aria-label="Incidents"><ul class="rows">
      @for (one of list.items() ?? []; track one.id) {
        <li><a class="row" [routerLink]="['/incidents', one.id]"><span class="grow"><b class="lines">{{ one.title }}</b>
          <span class="clip muted small">opened {{ duration(clock.nowMs() - one.opened_at_ms) }} ago · {{ many(one.alert_ids.length, 'alert') }}, {{ one.firing }} firing{{ one.acknowledged_by ? ' · ' + one.acknowledged_by + ' has it' : '' }}{{ one.resolved_by ? ' · resolved by ' + one.resolved_by : '' }}</span></span>
          @if (one.verdict) { <span class="chip">{{ one.verdict.replace('_', ' ') }}</span> }<q-badge [kind]="one.severity" /><q-badge [kind]="one.state" /></a></li>
      } @empty { <li class="empty">{{ list.items() ? empty() : list.error() ? 'It could not be read.' : 'Reading…' }}</li> }
    </ul></section>
    @if (list.cursor()) { <div class="actions"><button class="button" type="button" (click)="list.more()">Older incidents</button></div> }
  </div>`,
})
export class Incidents {
  readonly state = input<string>();
  protected readonly names = Object.keys(FILTERS);
  protected readonly which = computed(() => (this.state() && FILTERS[this.state()!] ? this.state()! : 'open'));
  protected readonly empty = computed(() => (this.which() === 'all' ? 'There never was an incident.' : this.which() === 'open' ? 'No incident is open.' : 'No incident was resolved yet.'));
  protected readonly clock = inject(Clock);
  protected readonly duration = duration;
  protected readonly many = many;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  protected readonly list = new LiveList<IncidentItem>({
    topic: 'incidents', which: this.which, page: (which, cursor) => this.api.incidents(FILTERS[which], cursor), beganMs: (one) => one.opened_at_ms,
  });

  protected choose(state: string): void {
    void this.router.navigate([], { queryParams: { state } });
  }
}
