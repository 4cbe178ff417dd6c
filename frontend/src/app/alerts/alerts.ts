import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { Router, RouterLink } from '@angular/router';
import { Api } from '../api/api';
import { AlertItem, AlertState } from '../api/messages';
import { Badge } from '../parts/badge';
import { Clock } from '../parts/clock';
import { duration, labelLine } from '../parts/format';
import { LiveList } from '../parts/live-list';

const FILTERS: Record<string, AlertState[]> = { all: [], firing: ['firing'], pending: ['pending'], resolved: ['resolved'] };

@Component({
  selector: 'q-alerts',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><h1>Alerts</h1>
      <div class="segmented" role="group" aria-label="Which alerts">
        @for (name of names; track name) { <button type="button" [attr.aria-pressed]="name === which()" (click)="choose(name)">{{ name }}</button> }
      </div></div>
    @if (list.error()) { <p class="error" role="alert">{{ list.error() }}</p> }
    <section class="card" aria-label="Alerts"><ul class="rows">
      @for (one of list.items() ?? []; track one.id) {
        <li><a class="row" [routerLink]="['/alerts', one.id]">
          <span class="grow"><b class="lines">{{ one.policy_name }} <span class="muted small">{{ labelLine(one.group) }}</span></b><span class="clip muted small">{{ one.reason }}</span></span>
          <span class="muted small">{{ duration(clock.nowMs() - one.pending_at_ms) }} ago</span>@if (one.silenced_by) { <span class="chip">silenced</span> }<q-badge [kind]="one.severity" /><q-badge [kind]="one.state" />
        </a></li>
      } @empty { <li class="empty">{{ list.items() ? empty() : list.error() ? 'It could not be read.' : 'Reading…' }}</li> }
    </ul></section>
    @if (list.cursor()) { <div class="actions"><button class="button" type="button" (click)="list.more()">Older alerts</button></div> }
  </div>`,
})
export class Alerts {
  readonly state = input<string>();
  protected readonly names = Object.keys(FILTERS);
  protected readonly which = computed(() => (this.state() && FILTERS[this.state()!] ? this.state()! : 'all'));
  protected readonly empty = computed(() => (this.which() === 'all' ? 'No alert was ever raised. That is good news.' : `No alert is ${this.which()}.`));
  protected readonly clock = inject(Clock);
  protected readonly duration = duration;
  protected readonly labelLine = labelLine;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  protected readonly list = new LiveList<AlertItem>({
    topic: 'alerts', which: this.which, page: (which, cursor) => this.api.alerts(FILTERS[which], cursor), beganMs: (one) => one.pending_at_ms,
  });

  protected choose(state: string): void {
    void this.router.navigate([], { queryParams: { state: state === 'all' ? null : state } });
  }
}
