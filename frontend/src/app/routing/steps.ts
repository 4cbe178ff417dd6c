import { ChangeDetectionStrategy, Component, input } from '@angular/core';
import { Routed } from '../api/messages';
import { many } from '../parts/format';

const WORDS = { told: 'decides', led_on: 'leads on', no_match: 'does not match', not_reached: 'not reached' } as const;

/** Where routes lead an alert: who is told, and what each route on the way says to it. */
@Component({
  selector: 'q-steps',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<ul class="rows">
    @for (one of routed().steps; track one.route) {
      <li class="row"><span class="grow"><b class="lines">{{ one.route }}</b>&ngsp;<span class="muted small lines">{{ one.why }}</span></span><span class="chip {{ one.outcome === 'told' ? 'ok' : one.outcome === 'led_on' ? 'info' : '' }}">{{ words[one.outcome] }}</span></li>
    }
    @if (routed().left_out) { <li class="empty">and {{ many(routed().left_out, 'route') }} more</li> }
  </ul>`,
})
export class Steps {
  readonly routed = input.required<Routed>();
  protected readonly words = WORDS;
  protected readonly many = many;
}
