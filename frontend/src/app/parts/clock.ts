import { Injectable, signal } from '@angular/core';

/** The time, once a second, for ages that are shown. */
@Injectable({ providedIn: 'root' })
export class Clock {
  readonly nowMs = signal(Date.now());

  constructor() {
    setInterval(() => this.nowMs.set(Date.now()), 1000);
  }
}
