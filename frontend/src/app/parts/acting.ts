import { WritableSignal } from '@angular/core';
import { sentence } from '../api/api';

/**
 * Do what somebody asked a page for, then show what became of it. Meanwhile the page is busy; it says what went wrong, and
 * nothing any more once something went well.
 */
export async function acting(busy: WritableSignal<boolean>, error: WritableSignal<string>, work: () => Promise<unknown>, show: () => unknown = () => undefined): Promise<void> {
  busy.set(true);
  try {
    await work();
    error.set('');
    await show();
  } catch (failure) {
    error.set(sentence(failure));
  } finally {
    busy.set(false);
  }
}
