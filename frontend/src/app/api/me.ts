import { HttpErrorResponse, HttpInterceptorFn } from '@angular/common/http';
import { Injectable, computed, inject, signal } from '@angular/core';
import { catchError, throwError } from 'rxjs';
import { Right, Session } from './messages';

const UNAUTHORIZED = 401;

/** Who uses this page, and what they may do: the one place that knows. What is offered follows from it; the server decides. */
@Injectable({ providedIn: 'root' })
export class Me {
  /** Null until it is known, and where it cannot be found out. */
  readonly session = signal<Session | null>(null);
  /** Whether somebody was signed in here, and is no more. */
  readonly over = signal(false);
  /** Somebody who has to sign in, and can. */
  readonly mustSignIn = computed(() => this.session()?.subject === '' && !!this.session()?.sign_in);
  /** Somebody who is known by a session, so that sockets need tickets, and who can sign out. */
  readonly signedIn = computed(() => this.session()?.means === 'session');

  /** Where nobody knows who it is, everything is offered, and the server's refusal shown. */
  may(right: Right): boolean {
    const session = this.session();
    return !session || session.may.includes(right);
  }

  /** The server knows the session no more. */
  lose(): void {
    const session = this.session();
    if (session?.means !== 'session') return;
    this.session.set({ ...session, subject: '', means: '', may: [], roles: [] });
    this.over.set(true);
  }
}

/** Notices answers which say that the session is over. */
export const noticeTheEnd: HttpInterceptorFn = (request, next) => {
  const me = inject(Me);
  return next(request).pipe(
    catchError((error: unknown) => {
      if (error instanceof HttpErrorResponse && error.status === UNAUTHORIZED) me.lose();
      return throwError(() => error);
    }),
  );
};
