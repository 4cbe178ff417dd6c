import { ChangeDetectionStrategy, Component, DestroyRef, computed, effect, inject, input, signal } from '@angular/core';
import { Title } from '@angular/platform-browser';
import { RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { Me } from '../api/me';
import { IncidentDetail, IncidentItem, MovedItem, Verdict } from '../api/messages';
import { acting } from '../parts/acting';
import { Badge } from '../parts/badge';
import { count, labelLine, moment } from '../parts/format';

const AROUND_MS = 1_800_000;
const UNWANTED: (Verdict | null)[] = ['expected', 'false', 'new_normal'];

/** How many ordinary hours there are to one that is as odd; surprise is in decades. */
function hours(surprise: number): string {
  return surprise < 6 ? `one in ${count(10 ** surprise)} such hours` : 'rarer than one in a million such hours';
}

@Component({
  selector: 'q-incident',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    @if (found(); as f) {
      <div class="head"><div class="grow"><p class="small"><a routerLink="/incidents">Incidents</a></p><h1>{{ f.incident.title }}</h1>
          <p class="muted">Opened {{ moment(f.incident.opened_at_ms) }}{{ f.incident.acknowledged_by ? ' · ' + f.incident.acknowledged_by + ' has it' : '' }}{{ f.incident.resolved_by ? ' · resolved by ' + f.incident.resolved_by : '' }}</p></div>
        <div class="actions"><q-badge [kind]="f.incident.severity" /><q-badge [kind]="f.incident.state" /></div></div>
      @if (me.may('act')) { <div class="actions">
        <button class="button primary" type="button" [disabled]="busy() || f.incident.state !== 'open'" (click)="act(api.acknowledge(id()))">Acknowledge</button>
        <button class="button" type="button" [disabled]="busy() || f.incident.state === 'resolved'" (click)="act(api.resolve(id()))">Resolve</button>
        <span class="muted small">What was it?</span>
        <div class="segmented" role="group" aria-label="Verdict">
          @for (one of verdicts; track one[0]) { <button type="button" [disabled]="busy()" [attr.aria-pressed]="f.incident.verdict === one[0]" (click)="act(api.judge(id(), one[0]))">{{ one[1] }}</button> }
        </div>
        @for (one of lessons(); track one.policy_id) { <a class="button" routerLink="/policies" [queryParams]="{ learn: one.policy_id }">What does this teach “{{ one.policy_name }}”?</a> }
      </div> }
      <div class="two">
        <section class="card" aria-labelledby="its-alerts"><header><h2 id="its-alerts">Alerts</h2><span class="muted small">{{ f.incident.firing }} firing</span></header>
          <ul class="rows">@for (one of f.alerts; track one.id) {
            <li><a class="row" [routerLink]="['/alerts', one.id]"><span class="grow"><b class="lines">{{ one.policy_name }} <span class="muted small">{{ labelLine(one.group) }}</span></b><span class="muted small">{{ one.reason }}</span></span><q-badge [kind]="one.state" /></a></li>
          }</ul></section>
        <section class="card" aria-labelledby="notes"><header><h2 id="notes">Notes</h2></header>
          <ul class="rows">@for (note of f.incident.notes; track $index) { <li class="row"><span class="grow"><span class="text">{{ note.text }}</span><br><span class="muted small">{{ note.author }}, {{ moment(note.at_ms) }}</span></span></li> }
            @empty { <li class="empty">Nobody has written anything yet.</li> }</ul>
          @if (me.may('act')) { <form class="body note" (submit)="write($event, box)"><label class="field"><span>Write something down</span><textarea #box maxlength="10000" required></textarea></label>
            <button class="button" type="submit" [disabled]="busy()">Add note</button></form> }</section>
      </div>
      <section class="card" aria-labelledby="moved"><header><h2 id="moved">What moved</h2><button class="button" type="button" (click)="look(f.incident)">{{ moved() ? 'Look again' : 'Look' }}</button></header>
        <ul class="rows">@for (one of moved(); track one.series.fingerprint) {
          <li><a class="row" [routerLink]="['/series', one.series.fingerprint]" [queryParams]="{ from: one.peak_at_ms - 1800000, to: one.peak_at_ms + 1800000 }"><span class="grow"><b class="lines">{{ one.series.name }}</b><span class="clip muted small">{{ labelLine(one.series.labels) }}</span></span>
            <span class="small">{{ hours(one.surprise) }}, {{ moment(one.peak_at_ms) }}</span></a></li>
        } @empty { <li class="empty">{{ moved() ? 'Nothing was odder than usual.' : 'All series, by how odd they were within half an hour of its beginning, each against its own past.' }}</li> }</ul></section>
    } @else if (!error()) { <div class="skeleton"></div> }
  </div>`,
  styles: `.note { display: grid; gap: 10px; justify-items: start; border-top: 1px solid var(--line); } .note .field { width: 100%; } .text { white-space: pre-wrap; overflow-wrap: anywhere; }`,
})
export class IncidentPage {
  readonly id = input.required<string>();
  protected readonly api = inject(Api);
  protected readonly me = inject(Me);
  protected readonly found = signal<IncidentDetail | null>(null);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly verdicts: [Verdict, string][] = [['real', 'real'], ['expected', 'expected'], ['false', 'false alarm'], ['new_normal', 'new normal'], ['duplicate', 'duplicate']];
  /** One alert of each policy that could learn from a verdict that nobody wanted to be told. */
  protected readonly lessons = computed(() => {
    const found = this.found();
    if (!found || !UNWANTED.includes(found.incident.verdict)) return [];
    return [...new Map(found.alerts.map((one) => [one.policy_id, one])).values()];
  });
  protected readonly moved = signal<MovedItem[] | null>(null);
  protected readonly hours = hours;
  protected readonly labelLine = labelLine;
  protected readonly moment = moment;
  private readonly title = inject(Title);

  constructor() {
    effect(() => void this.load(this.id()));
    const stop = inject(Live).watch<IncidentItem>('incidents', (one) => one.id === this.id() && void this.load(one.id), () => void this.load(this.id()));
    inject(DestroyRef).onDestroy(stop);
  }

  protected act(answer: Promise<IncidentItem>): Promise<void> {
    return acting(this.busy, this.error, async () => {
      const incident = await answer;
      this.found.update((found) => found && { ...found, incident });
    });
  }

  protected async write(event: Event, box: HTMLTextAreaElement): Promise<void> {
    event.preventDefault();
    if (!box.value.trim()) return;
    await this.act(this.api.note(this.id(), box.value));
    if (!this.error()) box.value = '';
  }

  /** Rank all series by how odd they were around the beginning. */
  protected async look(incident: IncidentItem): Promise<void> {
    try {
      const found = await this.api.whatMoved(Math.max(0, incident.opened_at_ms - AROUND_MS), incident.opened_at_ms + AROUND_MS);
      this.moved.set(found.items.filter((one) => one.surprise >= 1));
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }

  private async load(id: string): Promise<void> {
    try {
      const found = await this.api.incident(id);
      if (id !== this.id()) return;
      this.found.set(found);
      this.title.setTitle(`${found.incident.title} · Quantum`);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
