import { DialogRef } from '@angular/cdk/dialog';
import { ChangeDetectionStrategy, Component, inject } from '@angular/core';

@Component({
  selector: 'q-help',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="card help"><header><h2>Keyboard</h2><button class="button" type="button" (click)="dialog.close()">Close</button></header>
    <table class="body"><tbody>
      @for (row of rows; track row[0]) { <tr><td><kbd>{{ row[0] }}</kbd></td><td>{{ row[1] }}</td></tr> }
    </tbody></table></div>`,
  styles: `.help { width: min(420px, 92vw); } kbd { font: 0.85rem var(--mono); }`,
})
export class Help {
  protected readonly dialog = inject(DialogRef);
  protected readonly rows = [
    ['Ctrl K', 'Go to a page or a series'], ['g o', 'Overview'], ['g e', 'Explore'], ['g a', 'Alerts'], ['g i', 'Incidents'],
    ['g p', 'Policies'], ['g s', 'Silences'], ['g r', 'Routes'], ['g t', 'Time machine'], ['g m', 'Models'], ['g u', 'Audit'], ['g k', 'API keys'], ['/', 'Search'], ['Esc', 'Close what is open'], ['?', 'This help'],
  ];
}
