import { DestroyRef, Signal, effect, inject, signal } from '@angular/core';
import { sentence } from '../api/api';
import { Live } from '../api/live';
import { refreshed } from './pages';

interface Source<T> {
  /** The topic that tells when something of the list changes. */
  topic: string;
  /** Which list is shown; another one is read from its beginning. */
  which: Signal<string>;
  page: (which: string, cursor?: string | null) => Promise<{ items: T[]; next_cursor: string | null }>;
  beganMs: (one: T) => number;
}

/**
 * A list, newest first, that is read page by page and again whenever something changes; what was read further down
 * stays. Made where things may be injected, and ends with its owner.
 */
export class LiveList<T extends { id: string }> {
  /** Null until it was read. */
  readonly items = signal<readonly T[] | null>(null);
  /** Where older ones begin, if there are any. */
  readonly cursor = signal<string | null>(null);
  /** What went wrong when it was last read. */
  readonly error = signal('');

  constructor(private readonly source: Source<T>) {
    effect(() => {
      const which = source.which();
      this.items.set(null);
      void this.read(which);
    });
    const again = () => void this.read(source.which());
    inject(DestroyRef).onDestroy(inject(Live).watch<T>(source.topic, again, again));
  }

  /** Read older ones. */
  async more(): Promise<void> {
    try {
      const page = await this.source.page(this.source.which(), this.cursor());
      this.items.update((items) => [...(items ?? []), ...page.items]);
      this.cursor.set(page.next_cursor);
    } catch (error) {
      this.error.set(sentence(error));
    }
  }

  private async read(which: string): Promise<void> {
    try {
      const page = await this.source.page(which);
      if (which !== this.source.which()) return;
      const known = this.items();
      const items = refreshed(known ?? [], page.items, this.source.beganMs);
      this.items.set(items);
      // where more was read than this page, older ones begin after that
      if (!known || items.length <= page.items.length) this.cursor.set(page.next_cursor);
      this.error.set('');
    } catch (error) {
      this.error.set(sentence(error));
    }
  }
}
