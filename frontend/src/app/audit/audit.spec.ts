import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { anEntry } from '../../testing/things';

describe('the audit log', () => {
  const open = (answer: unknown, url = '/audit') => Page.open(url, { 'GET audit': answer });

  it('is read', async () => expect((await open(NEVER)).text).toContain('Reading…'));

  it.each([['/audit', 'Nobody has changed anything or signed in yet.'], ['/audit?outcome=refused', 'Nothing was refused.'], ['/audit?outcome=denied', 'Nobody was denied anything.'], ['/audit?q=ada', 'Nothing like that is in the log.']])('of %s is empty: %s', async (url, words) => {
    expect((await open({ items: [], next_cursor: null }, url)).text).toContain(words);
  });

  it('is not for everybody', async () => {
    const page = await open(new Refusal(403, 'this needs the role admin; ada has viewer'));
    expect(page.find('[role=alert]').textContent).toBe('this needs the role admin; ada has viewer');
    expect(page.text).toContain('It could not be read.');
  });

  it('tells who did what from where, and what is different since', async () => {
    const page = await open({ items: [anEntry()], next_cursor: null });
    for (const words of ['put policy CPU is busy', 'ada from 203.0.113.9', 'for_ms: 0 → 5000', 'summary: nothing → "Look"', 'done']) expect(page.text).toContain(words);
  });

  it('tells who signed in, and who could not', async () => {
    const came = anEntry({ id: '2', action: 'sign_in', target: '', changes: [], outcome: 'done' });
    const strange = anEntry({ id: '1', action: 'sign_in', target: '', actor: '', changes: [], outcome: 'denied', detail: 'the code is no good' });
    const page = await open({ items: [came, strange], next_cursor: null });
    const [first, second] = page.all('li.row').map((one) => one.textContent!.replace(/\s+/g, ' '));
    for (const words of ['sign in', 'ada from 203.0.113.9', 'done']) expect(first).toContain(words);
    for (const words of ['sign in', 'somebody unknown', 'the code is no good', 'denied']) expect(second).toContain(words);
  });

  it('shows what somebody sent as text, whatever it is', async () => {
    const page = await open({ items: [anEntry({ target: '<img src=x onerror=alert(1)>', actor: '', detail: '</script><b>no</b>', outcome: 'denied' })], next_cursor: null });
    expect(page.all('img, script, li b b')).toHaveLength(0);
    for (const words of ['<img src=x onerror=alert(1)>', 'somebody unknown', '</script><b>no</b>']) expect(page.text).toContain(words);
  });

  it('is asked for by outcome and words', async () => {
    const page = await open({ items: [], next_cursor: null }, '/audit?outcome=denied&q=eve');
    expect(page.requests('GET audit')[0].params.getAll('outcome')).toEqual(['denied']);
    expect(page.requests('GET audit')[0].params.get('q')).toBe('eve');
    await page.fill('#search', 'bob');
    expect(page.requests('GET audit').at(-1)!.params.get('q')).toBe('bob');
  });

  it('adds older entries on demand', async () => {
    const page = await open({ items: [anEntry()], next_cursor: 'c1' });
    page.answers['GET audit'] = { items: [anEntry({ id: '1' })], next_cursor: null };
    await page.click('Older entries');
    expect(page.all('li.row')).toHaveLength(2);
    expect(page.requests('GET audit').at(-1)!.params.get('cursor')).toBe('c1');
  });
});
