import { ChangeDetectionStrategy, Component, ElementRef, OnDestroy, effect, inject, input, output, signal, untracked } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { Subject } from 'rxjs';
import { Api, sentence } from '../api/api';
import { AlertItem, PolicyItem, ReceiverItem, ReplayReport, Severity } from '../api/messages';
import { duration } from '../parts/format';
import { Waiting } from '../parts/waiting';
import { Outcome } from '../replay/outcome';
import { Draft, draftOf, emptyDraft, mistakesOf, requestOf } from './draft';

const HOUR_MS = 3_600_000;
/** Alerts that began to pend before the time may have fired within it. */
const BEFORE_MS = 24 * HOUR_MS;

interface Trial { report: ReplayReport; askedMs: number; real: AlertItem[] | null }

/** A draft of a policy: written, tried on what is stored, and saved when its author knows whom it would have woken. */
@Component({
  selector: 'q-policy-editor',
  imports: [FormsModule, Outcome, Waiting],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './editor.html',
  styleUrl: './editor.scss',
})
export class PolicyEditor implements OnDestroy {
  /** The policy to edit; null for a new one. */
  readonly policy = input.required<PolicyItem | null>();
  readonly receivers = input.required<ReceiverItem[]>();
  readonly saved = output();
  readonly cancelled = output();
  protected draft: Draft = emptyDraft();
  protected backHours = 24;
  protected readonly error = signal('');
  protected readonly tried = signal(false);
  protected readonly saving = signal(false);
  protected readonly tryingSinceMs = signal(0);
  protected readonly trial = signal<Trial | null>(null);
  protected readonly severities: Severity[] = ['info', 'warning', 'critical'];
  protected readonly pasts = [1, 6, 24, 168];
  protected readonly ago = (hours: number) => duration(hours * HOUR_MS).replace(/^1 d$/, '24 h');
  private readonly api = inject(Api);
  private readonly host = inject<ElementRef<HTMLElement>>(ElementRef);
  private readonly stop = new Subject<void>();

  constructor() {
    effect(() => {
      const policy = this.policy();
      untracked(() => this.begin(policy));
    });
  }

  ngOnDestroy(): void {
    this.stop.next();
  }

  /** What is wrong with a field, once its author has tried to use the draft. */
  protected wrong(field: keyof Draft): string {
    return this.tried() ? (mistakesOf(this.draft)[field] ?? '') : '';
  }

  protected tell(name: string, told: boolean): void {
    const others = this.draft.receivers.filter((one) => one !== name);
    this.draft.receivers = told ? [...others, name] : others;
  }

  protected async save(): Promise<void> {
    if (!this.isSound()) return;
    this.saving.set(true);
    try {
      const [policy, request] = [this.policy(), requestOf(this.draft)];
      await (policy ? this.api.editPolicy(policy.id, policy.version, request) : this.api.createPolicy(request));
      this.saved.emit();
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.saving.set(false);
    }
  }

  protected async tryOut(): Promise<void> {
    if (!this.isSound()) return;
    const endMs = Date.now(), askedMs = endMs - this.backHours * HOUR_MS;
    this.tryingSinceMs.set(endMs);
    this.trial.set(null);
    try {
      // a policy that is switched off raises nothing, and the question is what it would do
      const report = await this.api.preview({ ...requestOf(this.draft), enabled: true }, askedMs, endMs, this.stop);
      if (report) this.trial.set({ report, askedMs, real: await this.really(report) });
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.tryingSinceMs.set(0);
    }
  }

  protected stopTrying(): void {
    this.stop.next();
  }

  /** What the policy as it is really raised in the time of a replay; null for a new policy. */
  private async really({ start_ms, end_ms }: ReplayReport): Promise<AlertItem[] | null> {
    const policy = this.policy();
    if (!policy) return null;
    const page = await this.api.alertsOf(policy.id, Math.max(0, start_ms - BEFORE_MS), end_ms);
    return page.items.filter((one) => one.firing_at_ms !== null && (one.resolved_at_ms ?? end_ms) >= start_ms);
  }

  private begin(policy: PolicyItem | null): void {
    this.stop.next();
    this.draft = policy ? draftOf(policy) : emptyDraft();
    this.error.set('');
    this.tried.set(false);
    this.trial.set(null);
  }

  private isSound(): boolean {
    const wrong = Object.keys(mistakesOf(this.draft));
    this.tried.set(true);
    this.error.set('');
    if (wrong.length) this.host.nativeElement.querySelector<HTMLElement>(`[name="${wrong[0]}"]`)?.focus();
    return !wrong.length;
  }
}
