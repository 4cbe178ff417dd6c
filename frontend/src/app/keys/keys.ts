import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { Api, sentence } from '../api/api';
import { Me } from '../api/me';
import { ApiKeyItem, KeyScope } from '../api/messages';
import { acting } from '../parts/acting';
import { Clock } from '../parts/clock';
import { moment } from '../parts/format';

const DAY_MS = 86_400_000;
const USES: Record<KeyScope, string> = { ingest: 'send samples', read: 'read' };

/** API keys: made here and shown once, listed without themselves, revoked. */
@Component({
  selector: 'q-keys',
  imports: [FormsModule],
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './keys.html',
})
export class Keys {
  protected readonly keys = signal<ApiKeyItem[] | null>(null);
  protected readonly made = signal<{ name: string; key: string } | null>(null);
  protected readonly error = signal('');
  protected readonly busy = signal(false);
  protected readonly moment = moment;
  protected wanted = { name: '', ingest: true, read: false, days: '' };
  protected readonly me = inject(Me);
  private readonly api = inject(Api);
  private readonly clock = inject(Clock);

  constructor() {
    void this.load();
  }

  protected uses(key: ApiKeyItem): string {
    return key.scopes.map((scope) => USES[scope]).join(', ');
  }

  protected expired(key: ApiKeyItem): boolean {
    return key.expires_at_ms !== null && key.expires_at_ms <= this.clock.nowMs();
  }

  protected make(): Promise<void> {
    const { name, ingest, read, days } = this.wanted;
    const scopes: KeyScope[] = [...(ingest ? ['ingest' as const] : []), ...(read ? ['read' as const] : [])];
    if (!scopes.length) return Promise.resolve(this.error.set('Choose what the key is for.'));
    const length = Number(days);
    if (days && !(length > 0 && length <= 36_500)) return Promise.resolve(this.error.set('A key lasts for 1 to 36,500 days, or for ever if nothing is written.'));
    const expires_at_ms = days ? Math.round(Date.now() + length * DAY_MS) : null;
    return this.act(async () => {
      const answer = await this.api.createKey({ name, scopes, expires_at_ms });
      this.made.set({ name, key: answer.key });
      this.wanted = { name: '', ingest: true, read: false, days: '' };
    });
  }

  protected revoke(key: ApiKeyItem): Promise<void> {
    if (!confirm(`Revoke the key “${key.name}”? Whoever uses it is refused from now on.`)) return Promise.resolve();
    return this.act(() => this.api.revokeKey(key.id));
  }

  private act(work: () => Promise<unknown>): Promise<void> {
    return acting(this.busy, this.error, work, () => this.load());
  }

  private async load(): Promise<void> {
    try {
      this.keys.set((await this.api.keys()).items);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
