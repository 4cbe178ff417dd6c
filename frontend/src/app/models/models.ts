import { ChangeDetectionStrategy, Component, DestroyRef, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { Api, sentence } from '../api/api';
import { Live } from '../api/live';
import { Me } from '../api/me';
import { ModelItem, ModelKind, ModelList, ModelVersionItem, ModelWork, TrainingRunItem, TrialItem } from '../api/messages';
import { Badge } from '../parts/badge';
import { compact, count, duration, many, moment } from '../parts/format';
import { Coverage } from './coverage';

const PASTS: Record<string, number> = { '6 h': 21_600_000, '24 h': 86_400_000, '7 d': 604_800_000, '30 d': 2_592_000_000 };
const KINDS: Record<ModelKind, string> = {
  peers: 'One unlike its siblings', 'group-forest': 'A host or service as a whole', 'window-forest': 'Windows of single series',
  'deep-forecaster': 'Forecasts of single series (deep)',
};
/** Kinds that compare series, and so need labels to group by. */
const COMPARING: readonly ModelKind[] = ['peers', 'group-forest'];
const ALIKE = 0.1, APART = 0.25;

/** The registry of models: versions, what they do live, promotion through the gate, and training. */
@Component({
  selector: 'q-models',
  imports: [FormsModule, Badge, Coverage],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './models.html',
  styles: `.works { display: grid; gap: 8px; } .note { padding: 12px 16px; } progress { width: 100%; max-width: 320px; accent-color: var(--accent); } header .button { margin-left: auto; }`,
})
export class Models {
  protected readonly list = signal<ModelList | null>(null);
  protected readonly runs = signal<TrainingRunItem[]>([]);
  protected readonly error = signal('');
  /** What the last trial found. */
  protected readonly said = signal('');
  protected readonly busy = signal('');
  protected readonly kinds = KINDS;
  protected readonly kindNames = Object.keys(KINDS) as ModelKind[];
  protected readonly pasts = Object.keys(PASTS);
  protected order = { name: '', kind: 'peers' as ModelKind, selector: '', by: 'host', past: '24 h', combine: 'either' };
  protected readonly compact = compact;
  protected readonly count = count;
  protected readonly duration = duration;
  protected readonly many = many;
  protected readonly moment = moment;
  protected readonly me = inject(Me);
  private readonly api = inject(Api);

  constructor() {
    void this.load();
    const stop = inject(Live).watch<TrainingRunItem>('training', (run) => this.follow(run), () => void this.load());
    inject(DestroyRef).onDestroy(stop);
  }

  protected works(one: ModelItem): { role: string; item: ModelWork }[] {
    const both = [{ role: 'Promoted', item: one.promoted }, { role: 'Watching', item: one.shadow }];
    return both.flatMap(({ role, item }) => (item ? [{ role, item }] : []));
  }

  protected leftOut(work: ModelWork): { reason: string; series: number }[] {
    return Object.entries(work.left_out).map(([reason, series]) => ({ reason, series }));
  }

  protected drift({ drift }: ModelWork): string {
    if (drift === null) return 'too few to tell a drift';
    return `drift ${compact(drift)}, ${drift < ALIKE ? 'as in training' : drift < APART ? 'a little unlike training' : 'train it again'}`;
  }

  protected rarity(one: ModelVersionItem): string {
    const share = one.metrics['one_in_a_hundred'];
    return share === undefined ? '–' : share ? `one in ${compact(Math.round(1 / share))}` : 'none';
  }

  protected tryOut(one: ModelVersionItem): Promise<void> {
    return this.act(async () => this.said.set(outcome(await this.api.tryModel(one.name, one.version))));
  }

  protected promote(one: ModelVersionItem): Promise<void> {
    return this.act(async () => this.said.set(`Promoted. ${outcome(await this.api.promoteModel(one.name, one.version))}`));
  }

  protected rollBack(one: ModelItem): Promise<void> {
    if (!confirm(`Roll back “${one.name}”? The version before counts at once, or none.`)) return Promise.resolve();
    return this.act(() => this.api.rollBackModel(one.name));
  }

  protected compares(kind: ModelKind): boolean {
    return COMPARING.includes(kind);
  }

  protected train(): Promise<void> {
    const { name, kind, selector, by, past, combine } = this.order, end_ms = Date.now();
    const labels = this.compares(kind) ? by.split(',').map((label) => label.trim()).filter(Boolean) : [];
    return this.act(() => this.api.train({ name, kind, selector, by: labels, combine, start_ms: end_ms - PASTS[past], end_ms }));
  }

  protected cancel(run: TrainingRunItem): Promise<void> {
    return this.act(() => this.api.cancelTraining(run.id));
  }

  private follow(run: TrainingRunItem): void {
    this.runs.update((runs) => (runs.some((one) => one.id === run.id) ? runs.map((one) => (one.id === run.id ? run : one)) : [run, ...runs]));
    if (run.state === 'done') void this.load();
  }

  private async act(work: () => Promise<unknown>): Promise<void> {
    this.busy.set('working');
    this.said.set('');
    try {
      await work();
      this.error.set('');
      await this.load();
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.busy.set('');
    }
  }

  private async load(): Promise<void> {
    try {
      const [list, runs] = await Promise.all([this.api.models(), this.api.trainingRuns()]);
      this.list.set(list);
      this.runs.set(runs.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}

function outcome(trial: TrialItem): string {
  const past = `Over the last ${duration(trial.end_ms - trial.start_ms)}, version ${trial.version} of ${trial.name} would have raised ${many(trial.alerts_then, 'alert')} instead of ${count(trial.alerts_now)}`;
  const sooner = trial.sooner ? ` It would have told ${count(trial.sooner)} of them sooner.` : '';
  return `${past}, and lost ${count(trial.lost.length)} of ${many(trial.confirmed, 'incident')} judged real.${sooner}`;
}
