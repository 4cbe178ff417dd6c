import { ChangeDetectionStrategy, Component, DestroyRef, computed, inject, signal } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { AnomalyItem, IncidentItem, OverviewMessage, OverviewTick } from '../api/messages';
import { Badge } from '../parts/badge';
import { Clock } from '../parts/clock';
import { compact, duration, labelLine, many, range } from '../parts/format';

const JUST_ENDED_MS = 300_000;
const SHOWN = 30;
/** A verdict that is older than this is none. */
const BLIND_AFTER_MS = 10_000;

/** Is something wrong? Where, since when, how unusual? */
@Component({
  selector: 'q-overview',
  imports: [RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './overview.html',
  styleUrl: './overview.scss',
})
export class Overview {
  protected readonly counters = signal<OverviewTick | null>(null);
  protected readonly incidents = signal<IncidentItem[] | null>(null);
  protected readonly error = signal('');
  protected readonly origin = location.origin;
  protected readonly clock = inject(Clock);
  private readonly live = inject(Live);
  private readonly found = signal(new Map<string, AnomalyItem>());
  protected readonly anomalies = computed(() =>
    [...this.found().values()]
      .filter((one) => one.end_ms === null || this.clock.nowMs() - one.end_ms < JUST_ENDED_MS)
      .sort((a, b) => Number(a.end_ms !== null) - Number(b.end_ms !== null) || b.score - a.score),
  );
  protected readonly shown = computed(() => this.anomalies().slice(0, SHOWN));
  protected readonly ongoing = computed(() => this.anomalies().filter((one) => one.end_ms === null).length);
  protected readonly verdict = computed(() => {
    const incidents = this.incidents();
    const counters = this.counters();
    const unheardMs = this.clock.nowMs() - this.live.lastMessageMs();
    if (counters && this.live.connection() === 'lost' && unheardMs > BLIND_AFTER_MS) {
      return { kind: 'late', title: 'Nobody knows', detail: `The connection is lost; below is what was known ${duration(unheardMs)} ago` };
    }
    if (!incidents || !counters) return { kind: 'learning', title: 'Looking…', detail: '' };
    if (!counters.series) return { kind: 'learning', title: 'Waiting for the first sample', detail: 'Nothing has been sent yet.' };
    if (incidents.length) {
      const open = incidents.filter((one) => one.state === 'open').length;
      const detail = !open ? 'Somebody has every one of them' : incidents.length === 1 ? 'Nobody has taken it yet' : `${open} of them nobody has taken yet`;
      return { kind: open ? 'critical' : 'warning', title: many(incidents.length, 'open incident'), detail };
    }
    if (this.ongoing()) return { kind: 'info', title: 'Nothing is wrong', detail: `${many(this.ongoing(), 'anomaly', 'anomalies')}; no policy is broken` };
    if (counters.learning === counters.series) return { kind: 'learning', title: 'Learning', detail: 'Nothing pages while series warm up; first scores come within a minute' };
    return { kind: 'ok', title: 'Nothing is wrong', detail: 'Every series behaves as usual' };
  });
  protected readonly compact = compact;
  protected readonly range = range;
  protected readonly many = many;
  protected readonly duration = duration;
  protected readonly labelLine = labelLine;
  private readonly api = inject(Api);

  constructor() {
    const { live } = this;
    const stops = [
      live.watch<OverviewTick>('overview', (tick) => this.onTick(tick), () => void this.load()),
      live.watch<IncidentItem>('incidents', () => void this.load(), () => void this.load()),
    ];
    inject(DestroyRef).onDestroy(() => stops.forEach((stop) => stop()));
    void this.load();
  }

  protected where(incident: IncidentItem): string {
    return Object.entries(incident.place).map(([name, value]) => `${name} ${value}`).join(', ');
  }

  private async load(): Promise<void> {
    try {
      const now: OverviewMessage = await this.api.overview();
      this.counters.set({ ...now, open_incidents: now.open_incidents.length });
      this.incidents.set(now.open_incidents);
      this.found.update((known) => new Map([...[...known].filter(([, one]) => one.end_ms !== null), ...now.anomalies.map((one) => [one.id, one] as const)]));
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }

  private onTick(tick: OverviewTick): void {
    this.counters.set(tick);
    if (!tick.anomalies.length) return;
    const fresh = (one: AnomalyItem) => one.end_ms === null || tick.at_ms - one.end_ms < JUST_ENDED_MS;
    this.found.update((known) => new Map([...[...known].filter(([, one]) => fresh(one)), ...tick.anomalies.map((one) => [one.id, one] as const)]));
  }
}
