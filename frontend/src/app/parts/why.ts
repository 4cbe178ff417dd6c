import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { RouterLink } from '@angular/router';
import { WhyCard } from '../api/messages';
import { compact, duration, labelLine, moment, range } from './format';

const MINUTES_AROUND_MS = 1_800_000;
const VERDICTS: Record<string, string> = { real: 'real', expected: 'expected', false: 'a false alarm', new_normal: 'the new normal', duplicate: 'a duplicate' };

/** Why a series stood out: the expectation and its parts, how rare it was, after what time it comes again, what it resembles, what moved along, what would have spared it. */
@Component({
  selector: 'q-why',
  imports: [RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<section class="card" aria-labelledby="why"><header><h2 id="why">Why</h2>@if (card().detector) { <span class="muted small">{{ card().detector }}</span> }</header>
    <div class="body why">
      <p><b>{{ compact(card().event.value) }}</b> @if (card().event.expected === null) { while the series was still being learnt } @else { where {{ compact(card().event.expected) }} was expected, usually {{ range(card().event.lower, card().event.upper) }}: {{ card().event.rarity }} }</p>
      @if (card().parts; as parts) {
        <dl>@for (part of shown(); track part[0]) { <div><dt class="muted small">{{ part[0] }}</dt><dd class="number">{{ part[1] }}</dd></div> }</dl>
        <p class="muted small">The parts of what was expected, from {{ duration(parts.history_ms) }} of its past; hours and weekdays in {{ parts.zone }}.</p>
      }
      @if (card().recurrence; as again) { <p>{{ again.words }}</p> }
      @for (one of card().spared; track one.setting) { <p>{{ one.words }}</p> }
      @if (card().resembles; as like) {
        <p>Most like <a [routerLink]="['/series', like.anomaly.fingerprint]" [queryParams]="around(like.anomaly.start_ms)">{{ moment(like.anomaly.start_ms) }}</a>@if (like.incident_id) {, part of <a [routerLink]="['/incidents', like.incident_id]">an incident</a> {{ like.verdict ? 'that was judged ' + verdicts[like.verdict] : 'that nobody judged' }}}</p>
      } @else { <p class="muted">This series did nothing of the kind before.</p> }
      @if (card().along.length) {
        <h3>Moved along</h3>
        <ul class="rows">@for (one of card().along; track one.anomaly.id) {
          <li><a class="row" [routerLink]="['/series', one.anomaly.fingerprint]" [queryParams]="around(card().event.peak_at_ms)"><span class="grow"><b class="lines">{{ one.anomaly.name }}</b><span class="clip muted small">{{ labelLine(one.anomaly.labels) }}</span></span>
            <span class="small">{{ one.correlation < 0 ? 'opposite' : 'same way' }}, {{ timing(one.lag_ms) }}</span></a></li>
        }</ul>
      } @else { <p class="muted">No other series moved along with it.</p> }
    </div></section>`,
  styles: `.why { display: grid; gap: 10px; } dl { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0; } dd { margin: 0; text-align: left; } h3 { margin: 4px 0 0; font-size: 0.95rem; }`,
})
export class Why {
  readonly card = input.required<WhyCard>();
  protected readonly compact = compact;
  protected readonly range = range;
  protected readonly duration = duration;
  protected readonly labelLine = labelLine;
  protected readonly moment = moment;
  protected readonly verdicts = VERDICTS;
  /** The parts that say something: the level, and what differs from it. */
  protected readonly shown = computed(() => {
    const parts = this.card().parts!;
    const named: [string, number][] = [['trend', parts.trend], [`${parts.hour_of_day}:00 to ${(parts.hour_of_day + 1) % 24}:00`, parts.hour], [`${parts.day_of_week}s`, parts.weekday], ['detector', parts.rest]];
    const others = named.filter(([, value]) => value !== 0).map(([name, value]): [string, string] => [name, (value > 0 ? '+' : '') + compact(value)]);
    return [['level', compact(parts.level)], ...others];
  });

  protected around(at_ms: number): { from: number; to: number } {
    return { from: at_ms - MINUTES_AROUND_MS, to: at_ms + MINUTES_AROUND_MS };
  }

  protected timing(lag_ms: number): string {
    if (lag_ms === 0) return 'at the same time';
    return lag_ms > 0 ? `${duration(lag_ms)} later` : `${duration(-lag_ms)} earlier`;
  }
}
