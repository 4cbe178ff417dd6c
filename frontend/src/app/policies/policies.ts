import { ChangeDetectionStrategy, Component, computed, inject, input, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatSlideToggle } from '@angular/material/slide-toggle';
import { Router } from '@angular/router';
import { Api, sentence } from '../api/api';
import { Me } from '../api/me';
import { BudgetItem, Condition, Direction, PolicyItem, PolicyRequest, ReceiverItem } from '../api/messages';
import { acting } from '../parts/acting';
import { Badge } from '../parts/badge';
import { compact, duration } from '../parts/format';
import { matcherText } from './draft';
import { PolicyEditor } from './editor';
import { Lessons } from './lessons';

@Component({
  selector: 'q-policies',
  imports: [FormsModule, Badge, MatSlideToggle, PolicyEditor, Lessons],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './policies.html',
})
export class Policies {
  /** The policy that is edited: its id, or `new`. */
  readonly edit = input<string>();
  /** The policy whose lessons are shown: its id. */
  readonly learn = input<string>();
  protected readonly policies = signal<PolicyItem[] | null>(null);
  protected readonly budgets = signal<Record<string, BudgetItem>>({});
  protected readonly receivers = signal<ReceiverItem[]>([]);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly editing = computed(() => {
    const policy = this.policies()?.find((one) => one.id === this.edit()) ?? null;
    return policy || this.edit() === 'new' ? { policy } : null;
  }, { equal: (a, b) => a?.policy?.version === b?.policy?.version && a?.policy?.id === b?.policy?.id && !a === !b });
  protected readonly learning = computed(() => this.policies()?.find((one) => one.id === this.learn()) ?? null);
  protected receiver = { name: '', url: '', secret: '' };
  protected readonly duration = duration;
  protected readonly me = inject(Me);
  private readonly api = inject(Api);
  private readonly router = inject(Router);

  constructor() {
    void this.load();
  }

  protected selector(policy: PolicyItem): string {
    return matcherText(policy.matchers);
  }

  protected condition(one: Condition): string {
    switch (one.kind) {
      case 'threshold': return `value ${one.op} ${compact(one.raise_at)}`;
      case 'anomaly_score': return `score at least ${compact(one.raise_at)}${side(one.direction)}`;
      case 'time_to_limit': return `${one.op} ${compact(one.limit)} within ${duration(one.within_ms)}, with a chance of ${compact(one.probability * 100)} %`;
      case 'page_budget': return `among the oddest${side(one.direction)}: at most ${one.pages} ${one.pages === 1 ? 'page' : 'pages'} in ${duration(one.per_ms)}`;
      case 'absence': return `silent for ${duration(one.after_ms)}`;
      case 'rate_of_change': return `changes by ${one.op} ${compact(one.raise_at)} a second over ${duration(one.window_ms)}`;
    }
  }

  /** Open a policy by its id, a new one, or none; the address remembers which. */
  protected start(edit: string | null): void {
    void this.router.navigate([], { queryParams: { edit } });
  }

  /** Show what verdicts teach a policy, or no more of it. */
  protected teach(learn: string | null): void {
    void this.router.navigate([], { queryParams: { learn } });
  }

  protected finish(): void {
    this.start(null);
    void this.load();
  }

  protected toggle(policy: PolicyItem): Promise<void> {
    const { id, version, ...request } = policy;
    return this.act(() => this.api.editPolicy(id, version, { ...request, enabled: !policy.enabled } as PolicyRequest));
  }

  protected remove(policy: PolicyItem): Promise<void> {
    if (!confirm(`Delete the policy “${policy.name}”? Its firing alerts will resolve.`)) return Promise.resolve();
    return this.act(() => this.api.deletePolicy(policy.id));
  }

  protected addReceiver(): Promise<void> {
    return this.act(async () => {
      await this.api.createReceiver(this.receiver.name, this.receiver.url, this.receiver.secret);
      this.receiver = { name: '', url: '', secret: '' };
    });
  }

  protected removeReceiver(one: ReceiverItem): Promise<void> {
    if (!confirm(`Delete the receiver “${one.name}”?`)) return Promise.resolve();
    return this.act(() => this.api.deleteReceiver(one.name));
  }

  private act(work: () => Promise<unknown>): Promise<void> {
    return acting(this.busy, this.error, work, () => this.load());
  }

  /** What was spent of a page budget; empty where there is none or it is not known yet. */
  protected spent(policy: PolicyItem): string {
    const found = this.budgets()[policy.id];
    if (!found) return '';
    const cut = found.cut_score === null ? '' : `; a score of ${found.cut_score.toFixed(2)} pages now`;
    return `${found.spent} of ${found.pages} spent in the last ${duration(found.per_ms)}${cut}`;
  }

  private async loadBudgets(policies: PolicyItem[]): Promise<void> {
    const budgeted = policies.filter((one) => one.condition.kind === 'page_budget');
    // one that cannot be read is left out; the policy itself is shown all the same
    const found = await Promise.allSettled(budgeted.map((one) => this.api.budget(one.id)));
    this.budgets.set(Object.fromEntries(found.flatMap((one) => one.status === 'fulfilled' ? [[one.value.policy_id, one.value]] : [])));
  }

  protected async load(): Promise<void> {
    try {
      const [policies, receivers] = await Promise.all([this.api.policies(), this.api.receivers()]);
      this.policies.set(policies.items);
      void this.loadBudgets(policies.items);
      this.receivers.set(receivers.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}

/** Half a sentence about the direction of a condition; nothing where it has none. */
function side(direction: Direction = 'either'): string {
  return direction === 'either' ? '' : `, ${direction} what is expected`;
}
