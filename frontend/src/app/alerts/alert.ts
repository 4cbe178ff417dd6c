import { ChangeDetectionStrategy, Component, DestroyRef, effect, inject, input, signal } from '@angular/core';
import { Title } from '@angular/platform-browser';
import { RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { Me } from '../api/me';
import { AlertDetail, AlertItem } from '../api/messages';
import { Badge } from '../parts/badge';
import { compact, labelLine, many, moment, range } from '../parts/format';
import { Why } from '../parts/why';
import { matcherText } from '../policies/draft';
import { Steps } from '../routing/steps';

@Component({
  selector: 'q-alert',
  imports: [RouterLink, Badge, Steps, Why],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    @if (found(); as f) {
      <div class="head"><div class="grow"><p class="small"><a routerLink="/alerts">Alerts</a></p><h1>{{ f.alert.policy_name }}</h1><p class="muted mono">{{ labelLine(f.alert.group) }}</p></div>
        <div class="actions">@if (f.alert.state === 'firing' && !f.alert.silenced_by && me.may('act')) { <a class="button" routerLink="/silences" [queryParams]="{ match: selectorOf(f.alert) }">Silence</a> }<q-badge [kind]="f.alert.severity" /><q-badge [kind]="f.alert.state" /></div></div>
      <section class="card"><div class="body why"><p class="reason">{{ f.alert.reason }}</p>@if (f.alert.summary) { <p class="muted">{{ f.alert.summary }}</p> }
        <p class="small"><a routerLink="/policies" [queryParams]="{ edit: f.alert.policy_id }">Policy {{ f.alert.policy_name }}, version {{ f.alert.policy_version }}</a>@if (f.alert.incident_id) { · <a [routerLink]="['/incidents', f.alert.incident_id]">its incident</a> }</p></div></section>
      @if (f.why; as card) { <q-why [card]="card" /> }
      <div class="two">
        <section class="card" aria-labelledby="contributors"><header><h2 id="contributors">Series that broke it</h2><span class="muted small">{{ f.alert.breaching }} in all</span></header>
          <ul class="rows">@for (one of f.alert.contributors; track one.fingerprint) {
            <li><a class="row" [routerLink]="['/series', one.fingerprint]" [queryParams]="{ from: one.at_ms - 600000, to: one.at_ms + 300000 }"><span class="grow"><b class="lines">{{ one.name }}</b><span class="clip muted small">{{ labelLine(one.labels) }}</span></span>
              <span class="number"><b>{{ compact(one.value) }}</b>&ngsp;<span class="muted small">{{ one.lower === null ? '' : 'usually ' + range(one.lower, one.upper) }}</span></span></a></li>
          }</ul></section>
        <section class="card" aria-labelledby="history"><header><h2 id="history">History</h2></header>
          <ol class="rows">@for (one of f.transitions; track one.seq) {
            <li class="row"><q-badge [kind]="one.after" /><span class="grow"><span class="small">{{ one.reason }}</span><br><span class="muted small">{{ moment(one.at_ms) }}</span></span></li>
          }</ol></section>
      </div>
      <section class="card" aria-labelledby="deliveries"><header><h2 id="deliveries">Who was told</h2></header>
        <ul class="rows">@for (one of f.deliveries; track one.id) {
          <li class="row"><span class="grow"><b>{{ one.receiver }}</b>&ngsp;<span class="muted small">{{ one.alert_state }} · {{ moment(one.at_ms) }} · {{ many(one.attempts, 'attempt') }}</span><br><span class="small">{{ one.detail }}</span></span><span class="chip {{ one.outcome === 'sent' ? 'ok' : one.outcome === 'failed' ? 'critical' : 'pending' }}">{{ one.outcome === 'open' ? 'being tried' : one.outcome === 'failed' ? 'given up' : 'told' }}</span></li>
        } @empty { <li class="empty">@if (f.alert.silenced_by) { A <a routerLink="/silences" [queryParams]="{ state: 'all' }">silence</a> keeps it quiet, so nobody was told. } @else if (f.routed) { Neither its policy nor a route names a receiver, so nobody was told. } @else { Its policy names no receiver, so nobody was told. }</li> }</ul>
        @if (f.routed; as routed) { <header><h2>Where <a routerLink="/routes">routes</a> led it</h2></header><q-steps [routed]="routed" /> }</section>
    } @else if (!error()) { <div class="skeleton"></div> }
  </div>`,
  styles: `.reason { font-size: 1.1rem; } .why { display: grid; gap: 8px; } ol { list-style: none; }`,
})
export class AlertPage {
  readonly id = input.required<string>();
  protected readonly found = signal<AlertDetail | null>(null);
  protected readonly error = signal('');
  protected readonly compact = compact;
  protected readonly range = range;
  protected readonly labelLine = labelLine;
  protected readonly many = many;
  protected readonly moment = moment;
  protected readonly me = inject(Me);
  private readonly api = inject(Api);
  private readonly title = inject(Title);

  constructor() {
    effect(() => void this.load(this.id()));
    const stop = inject(Live).watch<AlertItem>('alerts', (one) => one.id === this.id() && void this.load(one.id), () => void this.load(this.id()));
    inject(DestroyRef).onDestroy(stop);
  }

  /** What silences this alert and others like it: its policy and where it is. */
  protected selectorOf(alert: AlertItem): string {
    const labels = { alertname: alert.policy_name, ...alert.group };
    return matcherText(Object.entries(labels).map(([label, value]) => ({ label, op: '=' as const, value })));
  }

  private async load(id: string): Promise<void> {
    try {
      const found = await this.api.alert(id);
      if (id !== this.id()) return;
      this.found.set(found);
      this.title.setTitle(`${found.alert.policy_name} · Quantum`);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
