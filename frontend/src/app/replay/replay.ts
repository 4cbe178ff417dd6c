import { ChangeDetectionStrategy, Component, OnDestroy, computed, inject, input, signal } from '@angular/core';
import { Router } from '@angular/router';
import { Subject } from 'rxjs';
import { Api, sentence } from '../api/api';
import { Me } from '../api/me';
import { PolicyItem, PolicyRequest, ReplayReport } from '../api/messages';
import { many } from '../parts/format';
import { Waiting } from '../parts/waiting';
import { Outcome } from './outcome';

const PASTS: Record<string, number> = { '1h': 3_600_000, '6h': 21_600_000, '24h': 86_400_000, '7d': 604_800_000 };

/** What came in the last moments may still be on its way through the live pipeline, and would look like a difference. */
const SETTLING_MS = 2000;

interface Run { report: ReplayReport; askedMs: number; rules: string }

/** The time machine: the past once more, under the policies of then or of now, and how it differs from what was. */
@Component({
  selector: 'q-replay',
  imports: [Outcome, Waiting],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page">
    <div class="head"><div class="grow"><h1>Time machine</h1><p class="muted">Every sample is kept as it came. Run the past once more and see whom it wakes; nobody is told anything.</p></div></div>
    <section class="card"><div class="body asks">
      <div><p class="small muted" id="past">The last</p><div class="segmented" role="group" aria-labelledby="past">
        @for (name of pasts; track name) { <button type="button" [attr.aria-pressed]="name === past()" (click)="choose({ range: name })">{{ name }}</button> }</div></div>
      <div><p class="small muted" id="rules">under the policies</p><div class="segmented" role="group" aria-labelledby="rules">
        <button type="button" [attr.aria-pressed]="!now()" (click)="choose({ policies: null })">of then</button>
        <button type="button" [attr.aria-pressed]="now()" (click)="choose({ policies: 'now' })">of now</button></div></div>
      @if (me.may('act')) { <button class="button primary" type="button" [disabled]="sinceMs() > 0" (click)="run()">Replay</button> } @else { <p class="small muted">Replays are run by operators and administrators.</p> }
      <p class="small muted grow">{{ now() ? 'The policies as they are now, as if they had been in force all the time: the difference is what was changed since.' : 'The policies that were in force at each moment: the replay must come to exactly what was, or something is wrong with Quantum.' }}</p>
    </div></section>
    @if (error()) { <p class="error" role="alert">{{ error() }}</p> }
    @if (sinceMs(); as since) { <section class="card"><div class="body"><q-waiting [sinceMs]="since" (stopped)="stop.next()">Running what is stored through the detectors and policies.</q-waiting></div></section> }
    @else if (done(); as d) {
      <section class="card"><div class="body result">@if (compared()) { <p>{{ compared() }}</p> }<q-outcome [report]="d.report" [askedMs]="d.askedMs" [several]="true" /></div></section>
    }
  </div>`,
  styles: `.asks { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: end; } .asks .grow { flex-basis: 300px; } .result { display: grid; gap: 14px; grid-template-columns: minmax(0, 1fr); }`,
})
export class Replay implements OnDestroy {
  readonly range = input<string>();
  readonly policies = input<string>();
  protected readonly pasts = Object.keys(PASTS);
  protected readonly past = computed(() => (this.range() && PASTS[this.range()!] ? this.range()! : '24h'));
  protected readonly now = computed(() => this.policies() === 'now');
  protected readonly sinceMs = signal(0);
  protected readonly error = signal('');
  protected readonly done = signal<Run | null>(null);
  protected readonly compared = computed(() => (this.done()?.report.samples ? comparison(this.done()!) : ''));
  protected readonly stop = new Subject<void>();
  protected readonly me = inject(Me);
  private readonly api = inject(Api);
  private readonly router = inject(Router);

  ngOnDestroy(): void {
    this.stop.next();
  }

  protected choose(change: Record<string, string | null>): void {
    void this.router.navigate([], { queryParams: change, queryParamsHandling: 'merge' });
  }

  protected async run(): Promise<void> {
    const sinceMs = Date.now(), endMs = sinceMs - SETTLING_MS, askedMs = endMs - PASTS[this.past()], now = this.now();
    this.sinceMs.set(sinceMs);
    this.done.set(null);
    try {
      const policies = now ? (await this.api.policies()).items.map(requested) : null;
      const report = await this.api.replay(policies, askedMs, endMs, this.stop);
      if (report) this.done.set({ report, askedMs, rules: now ? 'of now' : 'of then' });
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.sinceMs.set(0);
    }
  }
}

function requested({ id: _, version: __, ...request }: PolicyItem): PolicyRequest {
  return request as PolicyRequest;
}

function comparison({ report, rules }: Run): string {
  const [fresh, gone] = [report.only_replayed.length, report.only_live.length];
  const really = `In truth ${many(report.alerts_live, 'alert')} began to fire in this time.`;
  if (!fresh && !gone) return `${really} The replay under the policies ${rules} comes to exactly the same.`;
  return `${really} Under the policies ${rules}, ${many(fresh, 'alert')} would have been added and ${many(gone, 'alert')} left out.`;
}
