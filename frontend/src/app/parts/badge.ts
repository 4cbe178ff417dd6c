import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';

const SIGNS: Record<string, string> = {
  critical: '▲', warning: '◆', info: '●', firing: '▲', pending: '◌', resolved: '✓', withdrawn: '–', open: '▲', acknowledged: '◐',
  ok: '✓', unusual: '▲', late: '◆', silent: '○', learning: '…',
};
const WORDS: Record<string, string> = { new_normal: 'new normal', false: 'false alarm' };

/** A state or severity as a word with a sign: never told by colour alone. */
@Component({
  selector: 'q-badge',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<span class="chip {{ kind() }}"><span aria-hidden="true">{{ sign() }}</span>{{ word() }}</span>`,
})
export class Badge {
  readonly kind = input.required<string>();
  protected readonly sign = computed(() => SIGNS[this.kind()] ?? '●');
  protected readonly word = computed(() => WORDS[this.kind()] ?? this.kind());
}
