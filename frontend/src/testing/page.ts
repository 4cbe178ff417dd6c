import { HttpErrorResponse, HttpInterceptorFn, HttpRequest, HttpResponse, provideHttpClient, withInterceptors } from '@angular/common/http';
import { TestBed } from '@angular/core/testing';
import { provideRouter, withComponentInputBinding } from '@angular/router';
import { RouterTestingHarness } from '@angular/router/testing';
import { Observable, of, throwError } from 'rxjs';
import { Me, noticeTheEnd } from '../app/api/me';
import { Session } from '../app/api/messages';
import { routes } from '../app/app.routes';
import { Sockets } from './socket';

/** What the API of a test answers: a body, a function that makes one from the request, or an Observable of its own making. */
export type Answers = Record<string, unknown>;

/** A refusal of the API as the server words it. */
export class Refusal {
  constructor(readonly status: number, readonly detail = '', readonly reason = '') {}
}

/** A page of the dashboard, opened by its address as a browser does, with an API and a socket that the test plays. */
export class Page {
  readonly asked: HttpRequest<unknown>[] = [];
  readonly sockets = new Sockets();
  private harness!: RouterTestingHarness;

  constructor(readonly answers: Answers) {
    TestBed.configureTestingModule({
      providers: [
        provideRouter(routes, withComponentInputBinding()),
        provideHttpClient(withInterceptors([noticeTheEnd, this.answer])),
        this.sockets.provider,
      ],
    });
  }

  /** Open a page; for somebody, or else as if nobody knew who it is. */
  static async open(url: string, answers: Answers, session: Session | null = null): Promise<Page> {
    const page = new Page(answers);
    TestBed.inject(Me).session.set(session);
    page.harness = await RouterTestingHarness.create(url);
    await page.settle();
    return page;
  }

  get element(): HTMLElement {
    return this.harness.fixture.nativeElement as HTMLElement;
  }

  /** What is read on the page, with single spaces. */
  get text(): string {
    return (this.element.textContent ?? '').replace(/[\s\u00a0]+/g, ' ').trim();
  }

  /** Let every answer that is there arrive and be shown. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setTimeout(resolve));
      this.harness.fixture.detectChanges();
    }
  }

  find<T extends HTMLElement = HTMLElement>(selector: string): T {
    const found = this.element.querySelector<T>(selector);
    if (!found) throw new Error(`${selector} is not on the page: ${this.text}`);
    return found;
  }

  all<T extends HTMLElement = HTMLElement>(selector: string): T[] {
    return [...this.element.querySelectorAll<T>(selector)];
  }

  /** The texts of all elements that match. */
  texts(selector: string): string[] {
    return this.all(selector).map((one) => (one.textContent ?? '').replace(/[\s\u00a0]+/g, ' ').trim());
  }

  async click(words: string): Promise<void> {
    const found = this.all('button, a').find((one) => (one.textContent ?? '').trim() === words);
    if (!found) throw new Error(`nothing to click is called ${words}: ${this.texts('button, a').join(' | ')}`);
    found.click();
    await this.settle();
  }

  async fill(selector: string, value: string): Promise<void> {
    const field = this.find<HTMLInputElement>(selector);
    field.value = value;
    field.dispatchEvent(new Event('input'));
    field.dispatchEvent(new Event('change'));
    await this.settle();
  }

  /** Choose an option by its words. */
  async choose(selector: string, words: string): Promise<void> {
    const field = this.find<HTMLSelectElement>(selector);
    const found = [...field.options].findIndex((one) => (one.textContent ?? '').trim() === words);
    if (found < 0) throw new Error(`${selector} has no option ${words}`);
    field.selectedIndex = found;
    field.dispatchEvent(new Event('change'));
    await this.settle();
  }

  async submit(selector = 'form'): Promise<void> {
    this.find(selector).dispatchEvent(new Event('submit', { cancelable: true }));
    await this.settle();
  }

  /** The requests of one kind, for example `POST policies`. */
  requests(line: string): HttpRequest<unknown>[] {
    return this.asked.filter((one) => lineOf(one) === line);
  }

  private readonly answer: HttpInterceptorFn = (request) => {
    this.asked.push(request);
    const line = lineOf(request);
    if (!(line in this.answers)) throw new Error(`the test has no answer to ${line}`);
    const known = this.answers[line];
    const body: unknown = typeof known === 'function' ? (known as (asked: HttpRequest<unknown>) => unknown)(request) : known;
    if (body instanceof Observable) return body as Observable<HttpResponse<unknown>>;
    if (!(body instanceof Refusal)) return of(new HttpResponse({ status: 200, body }));
    const error = body.detail ? { detail: body.detail, reason: body.reason } : null;
    return throwError(() => new HttpErrorResponse({ status: body.status, error, url: request.url }));
  };
}

function lineOf(request: HttpRequest<unknown>): string {
  return `${request.method} ${request.url.replace('/api/v1/', '')}`;
}
