import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { aLesson, aPolicy, aProposal, anAlert, anEvidence, anIncident, anOption } from '../../testing/things';
import { difference } from './lessons';

const address = '/policies?learn=p1';
const some = { 'GET policies': { items: [aPolicy()] }, 'GET receivers': { items: [] }, 'GET policies/p1/lessons': { items: [] } };

describe('what verdicts teach a policy', () => {
  it('is opened by the button and by the address, and closed again', async () => {
    const page = await Page.open('/policies', some);
    await page.click('Lessons');
    expect(page.find('#lessons-title').textContent).toBe('What verdicts teach “CPU is busy”');
    expect(page.text).toContain('It has learnt nothing yet.');
    await page.click('Close');
    expect(page.all('#lessons-title')).toHaveLength(0);
  });

  it('is of a policy that is there', async () => {
    expect((await Page.open('/policies?learn=gone', some)).find('[role=alert]').textContent).toContain('not there any more');
  });

  it('is read', async () => expect((await Page.open(address, { ...some, 'GET policies/p1/lessons': NEVER })).text).toContain('Reading…'));

  it('says why what was learnt could not be read', async () => {
    const page = await Page.open(address, { ...some, 'GET policies/p1/lessons': new Refusal(503, 'Later.') });
    expect(page.find('q-lessons [role=alert]').textContent).toBe('Later.');
    expect(page.text).toContain('What it learnt could not be read.');
  });

  it('is worked out when asked for, shows that it takes time, and can be stopped', async () => {
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': NEVER });
    await page.click('Look for proposals');
    expect(page.text).toContain('Trying stricter settings on what really happened…');
    await page.click('Stop waiting');
    expect(page.text).toContain('Look for proposals');
    expect(page.all('q-lessons [role=alert]')).toHaveLength(0);
  });

  it('is refused in the words of the server', async () => {
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': new Refusal(503, 'A proposal is being worked out already.') });
    await page.click('Look for proposals');
    expect(page.find('q-lessons [role=alert]').textContent).toBe('A proposal is being worked out already.');
  });

  it.each([
    [{ options: [], unwanted: 0 }, 'Say what incidents were, and come back.'], [{ options: [] }, 'No stricter setting would have spared them.'],
  ])('says so where there is no proposal: %o', async (part, words) => {
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal(part) });
    await page.click('Look for proposals');
    expect(page.text).toContain(words);
  });

  it('shows of each proposal what it removes, what it keeps and who is told', async () => {
    const evidence = anEvidence({ removed: 16, delay_ms: 30_000, unproven: 1 });
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal({ options: [anOption({ evidence })] }) });
    await page.click('Look for proposals');
    for (const words of [
      '14 incidents that nobody wanted to be told of, 6 judged real', 'It removes 14 of 14 unwanted alerts, and 2 other alerts.',
      'It loses 0 of 6 incidents judged real; it tells of them at most 30 s later. 1 more did not come up', 'on-call: 19 pages before, 5 after',
    ]) expect(page.text).toContain(words);
  });

  it('offers nothing that would lose what was real, and shows what that is', async () => {
    const option = anOption({ harmless: false, evidence: anEvidence({ lost: ['i9'] }) });
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal({ options: [option] }) });
    await page.click('Look for proposals');
    expect(page.find<HTMLButtonElement>('q-lessons li button').disabled).toBe(true);
    expect(page.find('.lost a').getAttribute('href')).toBe('/incidents/i9');
    expect(page.text).toContain('It loses 1 of 6 incidents judged real');
  });

  it('learns a proposal for the version that it was made for, and reads the policy anew', async () => {
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal(), 'POST policies/p1/learn': anOption() });
    await page.click('Look for proposals');
    page.answers['GET policies/p1/lessons'] = { items: [aLesson()] };
    await page.click('Learn this');
    expect(page.requests('POST policies/p1/learn')[0].body).toEqual({ setting: 'raise_at', value: 0.95, version: 3 });
    expect(page.text).toContain('Learnt: a limit of 0.95 instead of 0.9. It removes 14 of 14 unwanted alerts.');
    expect(page.requests('GET policies')).toHaveLength(2);
    expect(page.text).toContain('by ada,');
  });

  it('learns to leave a label aside, and keeps the proposals of what was refused', async () => {
    const matcher = { label: 'host', op: '!=' as const, value: 'a' };
    const option = anOption({ setting: 'matcher', value: null, matcher, text: 'without the series with host!="a"' });
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal({ options: [option] }), 'POST policies/p1/learn': new Refusal(409, 'It is at version 4.') });
    await page.click('Look for proposals');
    await page.click('Learn this');
    expect(page.requests('POST policies/p1/learn')[0].body).toEqual({ setting: 'matcher', matcher, version: 3 });
    expect(page.find('q-lessons [role=alert]').textContent).toBe('It is at version 4.');
    expect(page.text).toContain('Learn this');
  });

  it('learns the one side that still counts', async () => {
    const option = anOption({ setting: 'direction', value: null, direction: 'above', text: 'only what is above the expected, instead of either side' });
    const page = await Page.open(address, { ...some, 'POST policies/p1/propose': aProposal({ options: [option] }), 'POST policies/p1/learn': option });
    await page.click('Look for proposals');
    await page.click('Learn this');
    expect(page.requests('POST policies/p1/learn')[0].body).toEqual({ setting: 'direction', direction: 'above', version: 3 });
    expect(page.text).toContain('Learnt: only what is above the expected, instead of either side.');
  });

  it('takes the last lesson back after a question, and not without', async () => {
    const page = await Page.open(address, { ...some, 'GET policies/p1/lessons': { items: [aLesson({ after: aPolicy({ version: 2 }) }), aLesson()] }, 'POST policies/p1/unlearn': aPolicy() });
    const ask = vi.spyOn(window, 'confirm').mockReturnValueOnce(false).mockReturnValueOnce(true);
    expect(page.texts('q-lessons button').filter((one) => one === 'Take back')).toHaveLength(1);
    await page.click('Take back');
    expect(page.requests('POST policies/p1/unlearn')).toHaveLength(0);
    page.answers['GET policies/p1/lessons'] = { items: [] };
    await page.click('Take back');
    expect(ask.mock.calls[0][0]).toBe('Take back what “CPU is busy” learnt last? It will be as it was before.');
    expect(page.text).toContain('Taken back: the policy is as it was before.');
  });

  it.each([
    [aLesson(), 'a limit of 0.95 instead of 0.9'],
    [aLesson({ before: aPolicy({ for_ms: 0 }), after: aPolicy({ for_ms: 60_000 }) }), 'only what holds for 1 min instead of at once'],
    [aLesson({ before: aPolicy(), after: aPolicy({ for_ms: 60_000 }) }), 'only what holds for 1 min instead of 10 s'],
    [aLesson({ before: aPolicy({ condition: { kind: 'absence', after_ms: 60_000 } }), after: aPolicy({ condition: { kind: 'absence', after_ms: 120_000 } }) }), 'silent for 2 min instead of 1 min'],
    [aLesson({ before: aPolicy({ condition: { kind: 'page_budget', pages: 1, per_ms: 1 } }), after: aPolicy({ condition: { kind: 'page_budget', pages: 1, per_ms: 1, direction: 'below' } }) }), 'only what is below the expected'],
    [aLesson({ before: aPolicy(), after: aPolicy({ matchers: [...aPolicy().matchers, { label: 'host', op: '!=', value: 'a' }] }) }), 'only series with {host!="a"}'],
  ])('says what was learnt: %#', (lesson, words) => expect(difference(lesson)).toBe(words));
});

describe('an incident', () => {
  it.each([['false', 1], ['expected', 1], ['new_normal', 1], ['real', 0], ['duplicate', 0], [null, 0]])('judged %s has %i way to what it teaches', async (verdict, ways) => {
    const detail = { incident: anIncident({ verdict: verdict as never }), alerts: [anAlert(), anAlert({ id: 'a2' })] };
    const page = await Page.open('/incidents/i1', { 'GET incidents/i1': detail });
    const found = page.all('a').filter((one) => one.getAttribute('href')?.startsWith('/policies?learn='));
    expect(found).toHaveLength(ways);
  });
});
