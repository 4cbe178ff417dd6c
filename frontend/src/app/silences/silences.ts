import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { Router, RouterLink } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Me } from '../api/me';
import { ScheduleRequest, SilenceItem, SilencePreview, SilenceState } from '../api/messages';
import { acting } from '../parts/acting';
import { Badge } from '../parts/badge';
import { Clock } from '../parts/clock';
import { duration, labelLine, many, moment } from '../parts/format';
import { matcherText, parseMatchers } from '../policies/draft';
import { DAYS, WHICH, emptySchedule, occurrenceText, scheduleOf, scheduleText, zones } from './schedule';

const FILTERS: Record<string, SilenceState[]> = { current: ['active', 'pending'], over: ['over'], all: [] };
const HOUR_MS = 3_600_000;
const LENGTHS = [['30 minutes', HOUR_MS / 2], ['1 hour', HOUR_MS], ['2 hours', 2 * HOUR_MS], ['8 hours', 8 * HOUR_MS], ['1 day', 24 * HOUR_MS], ['1 week', 168 * HOUR_MS]] as const;
/** Chosen as a length: it comes again. */
const AGAIN = 0;
const EMPTY: Record<string, string> = { current: 'Nothing is silenced. Whoever is to be told is told.', over: 'No silence is over yet.', all: 'There never was a silence.' };

/** Silences: made with a look at what they would keep quiet, listed, and ended before their time. */
@Component({
  selector: 'q-silences',
  imports: [FormsModule, RouterLink, Badge],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './silences.html',
})
export class Silences {
  /** Which are shown. */
  readonly state = input<string>();
  /** What to silence, as another page proposes it. */
  readonly match = input<string>();
  protected readonly names = Object.keys(FILTERS);
  protected readonly lengths = LENGTHS;
  protected readonly which = computed(() => (this.state() && FILTERS[this.state()!] ? this.state()! : 'current'));
  protected readonly empty = computed(() => EMPTY[this.which()]);
  protected readonly items = signal<SilenceItem[] | null>(null);
  protected readonly looked = signal<SilencePreview | null>(null);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly me = inject(Me);
  protected readonly clock = inject(Clock);
  protected readonly duration = duration;
  protected readonly labelLine = labelLine;
  protected readonly many = many;
  protected readonly moment = moment;
  protected readonly matcherText = matcherText;
  protected readonly again = AGAIN;
  protected readonly days = DAYS;
  protected readonly whichDays = WHICH;
  protected readonly zones = zones();
  protected readonly scheduleText = scheduleText;
  protected readonly occurrenceText = occurrenceText;
  protected wanted = { selector: '', lengthMs: 2 * HOUR_MS as number, comment: '' };
  protected schedule = emptySchedule();
  private readonly api = inject(Api);
  private readonly router = inject(Router);

  constructor() {
    effect(() => {
      const which = this.which();
      this.items.set(null);
      void this.load(which);
    });
    effect(() => {
      this.wanted.selector = this.match() ?? this.wanted.selector;
      if (this.match()) void this.look();
    });
  }

  protected choose(state: string): void {
    void this.router.navigate([], { queryParams: { state: state === 'current' ? null : state }, queryParamsHandling: 'merge' });
  }

  /** Show what a silence like that would keep quiet. */
  protected look(): Promise<void> {
    return this.act(async () => this.looked.set(await this.api.previewSilence({ matchers: parseMatchers(this.wanted.selector), ...this.asked() })));
  }

  protected make(): Promise<void> {
    return this.act(async () => {
      const { selector, lengthMs, comment } = this.wanted;
      const asked = this.asked(), until = asked.schedule ? asked : { ends_at_ms: this.clock.nowMs() + lengthMs };
      await this.api.createSilence({ matchers: parseMatchers(selector), ...until, comment });
      this.wanted = { selector: '', lengthMs, comment: '' };
      this.looked.set(null);
    }, () => this.load(this.which()));
  }

  protected toggle(day: string, chosen: boolean): void {
    this.schedule.days = chosen ? [...this.schedule.days, day] : this.schedule.days.filter((one) => one !== day);
    this.looked.set(null);
  }

  protected end(one: SilenceItem): Promise<void> {
    if (!confirm(`End this silence? Of alerts that fire and match ${matcherText(one.matchers)} people are told at once.`)) return Promise.resolve();
    return this.act(() => this.api.endSilence(one.id), () => this.load(this.which()));
  }

  private asked(): { schedule?: ScheduleRequest } {
    return this.wanted.lengthMs === AGAIN ? { schedule: scheduleOf(this.schedule) } : {};
  }

  private act(work: () => Promise<unknown>, show?: () => Promise<void>): Promise<void> {
    return acting(this.busy, this.error, work, show);
  }

  private async load(which: string): Promise<void> {
    try {
      const found = await this.api.silences(FILTERS[which]);
      if (which === this.which()) this.items.set(found.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
