import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatSlideToggle } from '@angular/material/slide-toggle';
import { Api, sentence } from '../api/api';
import { Condition, PolicyItem, PolicyRequest, ReceiverItem, Severity } from '../api/messages';
import { Badge } from '../parts/badge';
import { compact, duration } from '../parts/format';
import { draftOf, emptyDraft, matcherText, requestOf } from './draft';

const PREVIEW_MS = 86_400_000;

@Component({
  selector: 'q-policies',
  imports: [FormsModule, Badge, MatSlideToggle],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './policies.html',
})
export class Policies {
  protected readonly policies = signal<PolicyItem[] | null>(null);
  protected readonly receivers = signal<ReceiverItem[]>([]);
  protected readonly error = signal('');
  protected readonly preview = signal('');
  protected readonly busy = signal(false);
  protected readonly editing = signal<PolicyItem | 'new' | null>(null);
  protected draft = emptyDraft();
  protected receiver = { name: '', url: '', secret: '' };
  protected readonly severities: Severity[] = ['info', 'warning', 'critical'];
  private readonly api = inject(Api);

  constructor() {
    void this.load();
  }

  protected selector(policy: PolicyItem): string {
    return matcherText(policy.matchers);
  }

  protected condition(one: Condition): string {
    switch (one.kind) {
      case 'threshold': return `value ${one.op} ${compact(one.raise_at)}`;
      case 'anomaly_score': return `score at least ${one.raise_at}`;
      case 'absence': return `silent for ${duration(one.after_ms)}`;
      case 'rate_of_change': return `changes by ${one.op} ${compact(one.raise_at)} a second over ${duration(one.window_ms)}`;
    }
  }

  protected start(policy: PolicyItem | 'new'): void {
    this.draft = policy === 'new' ? emptyDraft() : draftOf(policy);
    this.preview.set('');
    this.editing.set(policy);
  }

  protected async save(): Promise<void> {
    const editing = this.editing();
    await this.act(async () => {
      const request = requestOf(this.draft);
      if (editing === 'new' || editing === null) await this.api.createPolicy(request);
      else await this.api.editPolicy(editing.id, editing.version, request);
      this.editing.set(null);
    });
  }

  protected async tryOut(): Promise<void> {
    await this.act(async () => {
      this.preview.set('Running the stored facts of the last 24 hours through this policy…');
      const now = Date.now();
      const report = await this.api.preview(requestOf(this.draft), now - PREVIEW_MS, now);
      const count = report.alerts.length;
      this.preview.set(`In the last 24 hours this policy would have raised ${count} ${count === 1 ? 'alert' : 'alerts'}${count ? ': ' + report.alerts.slice(0, 3).map((one) => one.reason).join('; ') : ''}.`);
    });
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

  private async act(work: () => Promise<unknown>): Promise<void> {
    this.busy.set(true);
    try {
      await work();
      this.error.set('');
      await this.load();
    } catch (error) {
      this.error.set(sentence(error));
      this.preview.set('');
    } finally {
      this.busy.set(false);
    }
  }

  private async load(): Promise<void> {
    try {
      const [policies, receivers] = await Promise.all([this.api.policies(), this.api.receivers()]);
      this.policies.set(policies.items);
      this.receivers.set(receivers.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
