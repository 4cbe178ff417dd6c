import { ChangeDetectionStrategy, Component, DestroyRef, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { Title } from '@angular/platform-browser';
import { Router, RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { AnomalyItem, ForecastItem, OverviewTick, Points, WhyCard, Window } from '../api/messages';
import { Badge } from '../parts/badge';
import { Chart } from '../parts/chart';
import { Clock } from '../parts/clock';
import { grown, moved } from '../parts/points';
import { compact, duration, labelLine, moment, range as usual } from '../parts/format';
import { Why } from '../parts/why';

const RANGES: Record<string, number> = { '5m': 300_000, '15m': 900_000, '1h': 3_600_000, '6h': 21_600_000, '24h': 86_400_000, '7d': 604_800_000 };
const POINTS = 1500;
const REREAD_MS = 60_000;

/** One series: value, band, scores and anomalies over a stretch of time that the address holds, or live. */
@Component({
  selector: 'q-series',
  imports: [RouterLink, Badge, Chart, Why],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './series.html',
  styles: `.moves { display: inline-flex; gap: 4px; margin-left: auto; } .moves .button { padding: 4px 10px; font-size: 0.86rem; }`,
})
export class SeriesPage {
  readonly fingerprint = input.required<string>();
  readonly range = input<string>();
  readonly from = input<string>();
  readonly to = input<string>();
  protected readonly ranges = Object.keys(RANGES);
  protected readonly found = signal<Window | null>(null);
  protected readonly error = signal('');
  protected readonly asTable = signal(false);
  protected readonly card = signal<WhyCard | null>(null);
  protected readonly ahead = signal<ForecastItem | null>(null);
  protected readonly horizons: [string, number][] = [['1 h', 3_600_000], ['6 h', 21_600_000], ['1 d', 86_400_000], ['7 d', 604_800_000]];
  /** What is drawn: the window, and after it the forecast, which has no values. */
  protected readonly drawn = computed<Points>(() => {
    const found = this.found()!, ahead = this.ahead();
    if (!ahead) return found;
    const none = ahead.at_ms.map(() => null);
    return {
      at_ms: [...found.at_ms, ...ahead.at_ms], value: [...found.value, ...none], score: [...found.score, ...none],
      expected: [...found.expected, ...ahead.expected], lower: [...found.lower, ...ahead.lower], upper: [...found.upper, ...ahead.upper],
    };
  });
  protected readonly until = computed(() => this.ahead()?.at_ms.at(-1) ?? this.bounds()[1]);
  /** How many of the bands that were tried on this series held, for people. */
  protected readonly trust = computed(() => {
    const { held, tried, quantile, history_ms } = this.ahead()!;
    const all = tried.reduce((sum, one) => sum + one, 0);
    if (!all) return 'Too little history to draw a band.';
    const share = held.reduce<number>((sum, one, i) => sum + (one ?? 0) * tried[i], 0) / all;
    return `Tried on ${duration(history_ms)} of its past: ${compact(share * 100)} % of such bands held, ${compact(quantile * 100)} % should.`;
  });
  protected readonly chosen = computed(() => this.range() && RANGES[this.range()!] ? this.range()! : '15m');
  private readonly fromMs = computed(() => Number(this.from()) || 0);
  protected readonly live = computed(() => !this.fromMs());
  protected readonly bounds = signal<[number, number]>([0, 1]);
  protected readonly rows = computed(() => {
    const found = this.found();
    return found ? found.at_ms.map((at, i) => ({ at, value: found.value[i], lower: found.lower[i], upper: found.upper[i], score: found.score[i] })).filter((row) => row.value !== null).reverse().slice(0, 200) : [];
  });
  protected readonly newest = computed(() => this.rows()[0]);
  protected readonly clock = inject(Clock);
  protected readonly compact = compact;
  protected readonly usual = usual;
  protected readonly duration = duration;
  protected readonly labelLine = labelLine;
  protected readonly moment = moment;
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private readonly title = inject(Title);
  private stop: () => void = () => undefined;

  constructor() {
    const live = inject(Live);
    effect(() => {
      const fingerprint = this.fingerprint();
      this.chosen();
      this.from();
      this.to();
      untracked(() => {
        if (this.card()?.event.fingerprint !== fingerprint) this.card.set(null);
        if (this.ahead()?.series.fingerprint !== fingerprint) this.ahead.set(null);
        void this.load();
        this.stop();
        const stops = !this.live() ? [] : [
          live.watch<Points>(`series:${fingerprint}`, (points) => this.append(points), () => void this.load()),
          // an anomaly of this series began, grew or ended
          live.watch<OverviewTick>('overview', (tick) => tick.anomalies.some((one) => one.fingerprint === fingerprint) && void this.load()),
        ];
        this.stop = () => stops.forEach((stop) => stop());
      });
    });
    const timer = setInterval(() => this.live() && void this.load(), REREAD_MS);
    inject(DestroyRef).onDestroy(() => {
      clearInterval(timer);
      this.stop();
    });
  }

  protected choose(range: string): void {
    void this.router.navigate([], { queryParams: { range, from: null, to: null }, queryParamsHandling: 'merge' });
  }

  /** Shift the time that is shown by a share of it, and stretch it around its middle. */
  protected move(shift: number, stretch: number): void {
    this.zoom(moved(this.bounds(), shift, stretch, Date.now()));
  }

  protected zoom([from, to]: [number, number]): void {
    void this.router.navigate([], { queryParams: { from: Math.floor(from), to: Math.ceil(to) }, queryParamsHandling: 'merge' });
  }

  protected async look(event: Event, horizon: string, limit: string): Promise<void> {
    event.preventDefault();
    try {
      this.ahead.set(await this.api.forecast(this.fingerprint(), Number(horizon), limit.trim() === '' ? null : Number(limit)));
      this.error.set('');
    } catch (error) {
      this.ahead.set(null);
      this.error.set(sentence(error));
    }
  }

  protected async explain(one: AnomalyItem): Promise<void> {
    try {
      this.card.set(await this.api.why(one.fingerprint, one.peak_at_ms));
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }

  private async load(): Promise<void> {
    const fingerprint = this.fingerprint(), from = this.fromMs();
    const end = from ? Number(this.to()) || Date.now() : Date.now() + 1000;
    const start = from || end - RANGES[this.chosen()];
    try {
      const found = await this.api.window(fingerprint, start, end, POINTS);
      if (fingerprint !== this.fingerprint() || from !== this.fromMs()) return;
      this.found.set(found);
      this.title.setTitle(`${found.series.name} · Quantum`);
      this.bounds.set([start, end]);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }

  private append(points: Points): void {
    const found = this.found();
    if (!found) return;
    const end = Date.now(), start = end - RANGES[this.chosen()];
    const more = grown(found, points, start);
    if (!more) return;
    this.bounds.set([start, end]);
    this.found.set({ ...found, ...more });
  }
}
