import { ChangeDetectionStrategy, Component, computed, inject, input, output } from '@angular/core';
import { Clock } from './clock';
import { duration } from './format';

/** Something that takes its time: a moving bar, how long it has taken so far, and a way out. */
@Component({
  selector: 'q-waiting',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="line"><p role="status"><ng-content /></p><span class="muted" aria-hidden="true">{{ taken() }}</span>
      <button class="button" type="button" (click)="stopped.emit()">Stop</button></div>
    <div class="bar" role="progressbar" aria-label="Working; how long it will take is not known"><i></i></div>`,
  styles: `.line { display: flex; gap: 12px; align-items: center; flex-wrap: wrap; } p { flex: 1 1 220px; }
    .bar { height: 5px; border-radius: 5px; background: var(--line); overflow: hidden; margin-top: 10px; }
    i { display: block; width: 30%; height: 100%; border-radius: 5px; background: var(--accent); animation: slide 1.4s ease-in-out infinite; }
    @keyframes slide { from { transform: translateX(-100%); } to { transform: translateX(340%); } }
    @media (prefers-reduced-motion: reduce) { i { width: 100%; opacity: 0.5; animation: none; } }`,
})
export class Waiting {
  readonly sinceMs = input.required<number>();
  readonly stopped = output();
  protected readonly taken = computed(() => duration(this.clock.nowMs() - this.sinceMs()));
  private readonly clock = inject(Clock);
}
