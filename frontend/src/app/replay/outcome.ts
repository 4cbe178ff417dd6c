import { ChangeDetectionStrategy, Component, computed, input, linkedSignal } from '@angular/core';
import { RouterLink } from '@angular/router';
import { AlertItem, ReplayReport } from '../api/messages';
import { Badge } from '../parts/badge';
import { duration, many, moment } from '../parts/format';
import { difference, headline, laneName, lanesOf, span, wakes } from './story';

const LANES = 8;
const ROWS = 20;
const AROUND_MS = 300_000;

/** What a replay came to: the headline, the alerts over time, what differs from what was, and each alert with its reason. */
@Component({
  selector: 'q-outcome',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './outcome.html',
  styleUrl: './outcome.scss',
})
export class Outcome {
  readonly report = input.required<ReplayReport>();
  /** When the reader asked it to begin; history may begin later. */
  readonly askedMs = input(0);
  /** What really fired, if a comparison makes sense. */
  readonly real = input<AlertItem[] | null>(null);
  /** Whether alerts of several policies are shown. */
  readonly several = input(false);
  protected readonly head = computed(() => headline(this.report()));
  protected readonly lanes = computed(() => lanesOf(this.report(), this.several()));
  protected readonly drawn = computed(() => this.lanes().slice(0, LANES));
  protected readonly differs = computed(() => {
    const real = this.real();
    return real && difference(this.report().alerts, real, this.report().end_ms);
  });
  protected readonly fresh = computed(() => new Set(this.differs()?.fresh.map((one) => one.id)));
  protected readonly limit = linkedSignal({ source: this.report, computation: () => ROWS });
  protected readonly rows = computed(() => this.report().alerts.slice(0, this.limit()));
  protected readonly duration = duration;
  protected readonly many = many;
  protected readonly moment = moment;

  protected name(alert: AlertItem): string {
    return laneName(alert, this.several());
  }

  protected lasted(alert: AlertItem): string {
    const [begin, end] = span(alert, this.report().end_ms);
    return alert.resolved_at_ms === null ? `${duration(end - begin)}, and still at the end` : duration(end - begin);
  }

  protected told(alert: AlertItem): string {
    const names = wakes(this.report().pages).filter((page) => page.alert_id === alert.id).map((page) => page.receiver);
    return names.length ? `wakes ${[...new Set(names)].join(', ')}` : 'wakes nobody';
  }

  protected around(alert: AlertItem): { from: number; to: number } {
    const [begin, end] = span(alert, this.report().end_ms);
    return { from: begin - AROUND_MS, to: end + AROUND_MS };
  }
}
