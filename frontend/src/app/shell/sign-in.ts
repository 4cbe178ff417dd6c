import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { Me } from '../api/me';

/** Instead of every page, as long as nobody is signed in. */
@Component({
  selector: 'q-sign-in',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="page"><section class="card" aria-labelledby="sign-in"><div class="body">
    <h1 id="sign-in">{{ me.over() ? 'You are signed out' : 'Sign in' }}</h1>
    <p>{{ me.over() ? 'Your session is over. Sign in again, and you come back to this page.' : 'This Quantum wants to know who you are. Sign in, and you come back to this page.' }}</p>
    <a class="button primary" [href]="address()">{{ me.over() ? 'Sign in again' : 'Sign in' }}</a></div></section></div>`,
  styles: `.card { width: min(480px, 100%); margin: 10vh auto; } .body { display: grid; gap: 14px; justify-items: start; padding: 26px; } .button:hover { text-decoration: none; }`,
})
export class SignIn {
  /** The page that somebody wanted. */
  readonly to = input.required<string>();
  protected readonly me = inject(Me);
  protected readonly address = computed(() => `${this.me.session()?.sign_in}?to=${encodeURIComponent(this.to())}`);
}
