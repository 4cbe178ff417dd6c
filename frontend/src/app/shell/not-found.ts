import { ChangeDetectionStrategy, Component } from '@angular/core';
import { RouterLink } from '@angular/router';

@Component({
  selector: 'q-not-found',
  imports: [RouterLink],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<section class="empty"><h1>There is nothing here</h1><p>The address may be mistyped. <a routerLink="/">Back to the overview</a></p></section>`,
})
export class NotFound {}
