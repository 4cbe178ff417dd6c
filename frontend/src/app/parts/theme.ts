import { Injectable, signal } from '@angular/core';

export type ThemeChoice = 'system' | 'light' | 'dark';
const KEY = 'quantum.theme';

/** Which colours are shown; the choice is remembered, and `system` follows the machine as it changes. */
@Injectable({ providedIn: 'root' })
export class Theme {
  readonly choice = signal<ThemeChoice>(remembered());
  readonly dark = signal(document.documentElement.dataset['theme'] === 'dark');
  private readonly system = matchMedia('(prefers-color-scheme: dark)');

  constructor() {
    this.system.addEventListener('change', () => this.apply());
    this.apply();
  }

  choose(choice: ThemeChoice): void {
    this.choice.set(choice);
    if (choice === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
    this.apply();
  }

  private apply(): void {
    const dark = this.choice() === 'dark' || (this.choice() === 'system' && this.system.matches);
    document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
    this.dark.set(dark);
  }
}

function remembered(): ThemeChoice {
  const text = localStorage.getItem(KEY);
  return text === 'light' || text === 'dark' ? text : 'system';
}
