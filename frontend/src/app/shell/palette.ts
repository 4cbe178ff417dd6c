import { DialogRef } from '@angular/cdk/dialog';
import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { Router } from '@angular/router';
import { Api } from '../api/api';
import { Me } from '../api/me';
import { Right, SeriesItem } from '../api/messages';
import { labelLine } from '../parts/format';

const PAGES: [string, string, Right][] = [['Overview', '/', 'read'], ['Explore', '/explore', 'read'], ['Alerts', '/alerts', 'read'], ['Incidents', '/incidents', 'read'], ['Policies', '/policies', 'read'], ['Silences', '/silences', 'read'], ['Routes', '/routes', 'read'], ['Time machine', '/replay', 'read'], ['Models', '/models', 'read'], ['Audit', '/audit', 'administer'], ['API keys', '/keys', 'administer'], ['API documentation', '/docs', 'read']];

/** Go anywhere by typing: pages and series. */
@Component({
  selector: 'q-palette',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="card palette">
    <input #box type="text" role="combobox" aria-label="Go to a page or a series" aria-controls="found" aria-expanded="true" autocomplete="off"
      [attr.aria-activedescendant]="'choice-' + at()" placeholder="A page, or words of a series…" (input)="search(box.value)" (keydown)="onKey($event)">
    <ul id="found" role="listbox" aria-label="Found" class="rows">
      @for (choice of choices(); track choice.url; let i = $index) {
        <li role="option" [id]="'choice-' + i" [attr.aria-selected]="i === at()" [class.at]="i === at()" (click)="go(choice.url)" (mouseenter)="at.set(i)">
          <b>{{ choice.name }}</b>&ngsp;<span class="muted small">{{ choice.detail }}</span>
        </li>
      } @empty { <li class="muted">Nothing is called that.</li> }
    </ul></div>`,
  styles: `.palette { width: min(620px, 94vw); overflow: hidden; } input { border: 0; border-bottom: 1px solid var(--line); border-radius: 0; padding: 14px 18px; font-size: 1.05rem; }
    ul { max-height: 50vh; overflow: auto; } li { padding: 10px 18px; cursor: pointer; } li.at { background: var(--accent-soft); }`,
})
export class Palette {
  protected readonly at = signal(0);
  private readonly query = signal('');
  private readonly series = signal<SeriesItem[]>([]);
  protected readonly choices = computed(() => [
    ...PAGES.filter(([name, , right]) => this.me.may(right) && name.toLowerCase().includes(this.query().toLowerCase())).map(([name, url]) => ({ name, url, detail: 'page' })),
    ...this.series().map((one) => ({ name: one.name, url: `/series/${one.fingerprint}`, detail: labelLine(one.labels) })),
  ]);
  private readonly api = inject(Api);
  private readonly me = inject(Me);
  private readonly router = inject(Router);
  private readonly dialog = inject(DialogRef);

  protected search(text: string): void {
    this.query.set(text);
    this.at.set(0);
    if (text.trim()) this.api.findSeries(text, 12).then((page) => this.query() === text && this.series.set(page.items), () => this.series.set([]));
    else this.series.set([]);
  }

  protected onKey(event: KeyboardEvent): void {
    const count = this.choices().length;
    if (event.key === 'ArrowDown') this.at.update((at) => (at + 1) % Math.max(1, count));
    else if (event.key === 'ArrowUp') this.at.update((at) => (at + count - 1) % Math.max(1, count));
    else if (event.key === 'Enter' && count) this.go(this.choices()[this.at()].url);
    else return;
    event.preventDefault();
    document.getElementById(`choice-${this.at()}`)?.scrollIntoView({ block: 'nearest' });
  }

  protected go(url: string): void {
    this.dialog.close();
    if (url === '/docs') location.assign(url);
    else void this.router.navigateByUrl(url);
  }
}
