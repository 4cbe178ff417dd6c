import { ChangeDetectionStrategy, Component, effect, inject, input, output, signal } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Subject } from 'rxjs';
import { Api, sentence } from '../api/api';
import { EvidenceItem, LessonItem, OptionItem, PolicyItem, ProposalItem } from '../api/messages';
import { acting } from '../parts/acting';
import { compact, duration, many, moment } from '../parts/format';
import { Waiting } from '../parts/waiting';
import { matcherText } from './draft';

/** What the verdicts on a policy's incidents teach it: proposals with their evidence, what it learnt, and the way back. */
@Component({
  selector: 'q-lessons',
  imports: [RouterLink, Waiting],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './lessons.html',
  styles: `.option { display: grid; gap: 6px; } .option p { margin: 0; } .lost { color: var(--critical); } header .button { margin-left: auto; flex: none; white-space: nowrap; }`,
})
export class Lessons {
  readonly policy = input.required<PolicyItem>();
  /** Something was learnt or taken back: the policy is another one now. */
  readonly changed = output();
  readonly closed = output();
  protected readonly lessons = signal<LessonItem[] | null>(null);
  protected readonly proposal = signal<ProposalItem | null>(null);
  protected readonly sinceMs = signal(0);
  protected readonly busy = signal(false);
  protected readonly error = signal('');
  protected readonly said = signal('');
  protected readonly duration = duration;
  protected readonly many = many;
  protected readonly moment = moment;
  protected readonly difference = difference;
  private readonly api = inject(Api);
  private readonly stopped = new Subject<void>();

  constructor() {
    effect(() => void this.load(this.policy().id));
  }

  protected async propose(): Promise<void> {
    this.sinceMs.set(Date.now());
    this.said.set('');
    try {
      const found = await this.api.propose(this.policy().id, this.stopped);
      if (found) this.proposal.set(found);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    } finally {
      this.sinceMs.set(0);
    }
  }

  protected stop(): void {
    this.stopped.next();
  }

  protected learn(option: OptionItem): Promise<void> {
    const { setting, value, direction, matcher } = option, version = this.proposal()?.version;
    return this.act(async () => {
      const learnt = await this.api.learn(this.policy().id, { setting, version, ...(matcher ? { matcher } : direction ? { direction } : { value }) });
      this.said.set(`Learnt: ${learnt.text}. ${this.spares(learnt.evidence)}`);
    });
  }

  protected unlearn(): Promise<void> {
    if (!confirm(`Take back what “${this.policy().name}” learnt last? It will be as it was before.`)) return Promise.resolve();
    return this.act(async () => {
      await this.api.unlearn(this.policy().id);
      this.said.set('Taken back: the policy is as it was before.');
    });
  }

  protected spares(evidence: EvidenceItem): string {
    const others = evidence.removed - evidence.unwanted_removed;
    const also = others ? `, and ${many(others, 'other alert')}` : '';
    return `It removes ${evidence.unwanted_removed} of ${many(evidence.unwanted, 'unwanted alert')}${also}.`;
  }

  protected keeps(evidence: EvidenceItem): string {
    const later = evidence.delay_ms ? `; it tells of them at most ${duration(evidence.delay_ms)} later` : '';
    const unproven = evidence.unproven ? ` ${many(evidence.unproven, 'more did', 'more did')} not come up with the policy as it is now.` : '';
    return `It loses ${evidence.lost.length} of ${many(evidence.confirmed, 'incident')} judged real${later}.${unproven}`;
  }

  protected told(evidence: EvidenceItem): string {
    return evidence.pages.map((one) => `${one.receiver}: ${many(one.before, 'page')} before, ${one.after} after`).join(' · ');
  }

  private act(work: () => Promise<unknown>): Promise<void> {
    this.said.set('');
    return acting(this.busy, this.error, work, () => {
      this.proposal.set(null);
      this.changed.emit();
      return this.load(this.policy().id);
    });
  }

  private async load(id: string): Promise<void> {
    try {
      const found = await this.api.lessons(id);
      if (id === this.policy().id) this.lessons.set(found.items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}

/** What is different since a lesson, in words. */
export function difference({ before, after }: LessonItem): string {
  const was = before.condition, is = after.condition, found = [];
  if ('raise_at' in was && 'raise_at' in is && was.raise_at !== is.raise_at) found.push(`a limit of ${compact(is.raise_at)} instead of ${compact(was.raise_at)}`);
  if ('after_ms' in was && 'after_ms' in is && was.after_ms !== is.after_ms) found.push(`silent for ${duration(is.after_ms)} instead of ${duration(was.after_ms)}`);
  if (before.for_ms !== after.for_ms) found.push(`only what holds for ${duration(after.for_ms)} instead of ${before.for_ms ? duration(before.for_ms) : 'at once'}`);
  if ('direction' in is && (!('direction' in was) || was.direction !== is.direction)) found.push(`only what is ${is.direction} the expected`);
  const added = after.matchers.slice(before.matchers.length);
  if (added.length) found.push(`only series with ${matcherText(added)}`);
  return found.join(', ');
}
