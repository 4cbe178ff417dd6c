import { HttpErrorResponse } from '@angular/common/http';
import { TestBed } from '@angular/core/testing';
import { Observable, Subject } from 'rxjs';
import { Page } from '../../testing/page';
import { emptyDraft, requestOf } from '../policies/draft';
import { Api, sentence } from './api';

describe('the API', () => {
  it('asks for whole milliseconds from zero on', async () => {
    const page = new Page({ 'GET series/aa/window': {} });
    await TestBed.inject(Api).window('aa', -5.5, 10.2, 100);
    expect(page.asked[0].params.toString()).toBe('start_ms=0&end_ms=11&points=100');
  });

  it('goes on from a cursor, and asks without one at first', async () => {
    const page = new Page({ 'GET alerts': {} });
    await TestBed.inject(Api).alerts(['firing', 'pending']);
    await TestBed.inject(Api).alerts([], 'c1');
    expect(page.asked.map((one) => one.params.toString())).toEqual(['state=firing&state=pending&limit=50', 'limit=50&cursor=c1']);
  });

  it('writes a receiver’s name so that it stays one part of the address', async () => {
    const page = new Page({ 'DELETE receivers/a%2Fb%20c': null });
    await TestBed.inject(Api).deleteReceiver('a/b c');
    expect(page.asked).toHaveLength(1);
  });

  it('lets go of a replay that is stopped', async () => {
    let open = false;
    const page = new Page({ 'POST policies/preview': new Observable(() => ((open = true), () => (open = false))) });
    const stop = new Subject<void>();
    const answer = TestBed.inject(Api).preview(requestOf({ ...emptyDraft(), selector: 'cpu' }), 0, 1, stop);
    expect([open, page.asked.length]).toEqual([true, 1]);
    stop.next();
    expect([await answer, open]).toEqual([null, false]);
  });
});

describe('what went wrong', () => {
  it.each<[unknown, string]>([
    [new HttpErrorResponse({ status: 0 }), 'Quantum cannot be reached. Is it still running?'],
    [new HttpErrorResponse({ status: 400, error: { detail: 'A name has 1 to 200 characters.' } }), 'A name has 1 to 200 characters.'],
    [new HttpErrorResponse({ status: 502, error: '<html>' }), 'The server answered 502.'],
    [new HttpErrorResponse({ status: 500, error: null }), 'The server answered 500.'],
    [new Error('Name the series.'), 'Name the series.'],
    ['something', 'something'],
  ])('%s is said in a sentence', (error, words) => expect(sentence(error)).toBe(words));
});
