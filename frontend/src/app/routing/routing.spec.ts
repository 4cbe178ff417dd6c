import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, VIEWER, aReport } from '../../testing/things';

const route = (name: string, other: object = {}) => ({ name, version: 1, parent: name === 'default' ? '' : 'default', order: 10, matchers: [], receivers: [], continue: false, ...other });
const TEAM = route('team a', { matchers: [{ label: 'team', op: '=', value: 'a' }], receivers: ['ops'], continue: true, version: 4 });
const LOUD = route('loud', { parent: 'team a', matchers: [{ label: 'severity', op: '=', value: 'critical' }], receivers: null });
const RECEIVERS = { items: ['ops', 'dev'].map((name) => ({ name, version: 1, url: 'https://x/', has_secret: false })) };
const alone = { 'GET routes': { items: [route('default')] }, 'GET receivers': RECEIVERS };
const tree = { 'GET routes': { items: [route('default', { receivers: ['dev'] }), TEAM, LOUD] }, 'GET receivers': RECEIVERS };
const page = (receiver: string, state = 'firing') => ({ at_ms: AT_MS, receiver, alert_id: 'a1', policy_name: 'CPU is busy', state, group: {}, reason: '' });

describe('the page of routes', () => {
  it('is read', async () => expect((await Page.open('/routes', { 'GET routes': NEVER, 'GET receivers': NEVER })).text).toContain('Reading…'));

  it('cannot be read', async () => {
    const shown = await Page.open('/routes', { 'GET routes': new Refusal(500), 'GET receivers': RECEIVERS });
    expect(shown.find('[role=alert]').textContent).toBe('The server answered 500.');
    expect(shown.text).toContain('They could not be read.');
  });

  it('has the default route if there is no other', async () => {
    const shown = await Page.open('/routes', alone);
    for (const words of ['default', 'every alert', 'tells nobody', 'There is the default route alone']) expect(shown.text).toContain(words);
    expect(shown.texts('button')).not.toContain('Delete');
  });

  it('shows the tree: what each takes, whom it tells, and whether it goes on', async () => {
    const shown = await Page.open('/routes', tree);
    const rows = shown.texts('section[aria-label=Routes] li');
    expect(rows.map((one) => one.replace(/(Edit|Delete).*/, '').trim())).toEqual([
      'default every alert · tells dev', 'team a {team="a"} · tells ops goes on', 'loud {severity="critical"} · tells ops, as team a does',
    ]);
    expect(shown.all('section[aria-label=Routes] li').map((one) => one.style.paddingLeft)).toEqual(['18px', '44px', '70px']);
  });

  it('offers viewers nothing that they may not do, and lets them ask', async () => {
    const shown = await Page.open('/routes', tree, VIEWER);
    expect(shown.texts('button')).toEqual(['Ask the routes']);
  });
});

describe('a route', () => {
  it('is made below another, for some alerts, and tells whom it names', async () => {
    const shown = await Page.open('/routes', { ...tree, 'POST routes': LOUD });
    await shown.click('New route');
    await shown.fill('[name=name]', 'night');
    await shown.fill('[name=selector]', '{host=~"web.*"}');
    shown.find<HTMLInputElement>('fieldset .tick:nth-of-type(2) input').click();
    await shown.submit('form');
    expect(shown.requests('POST routes').at(-1)?.body).toEqual({
      name: 'night', parent: 'default', matchers: [{ label: 'host', op: '=~', value: 'web.*' }], receivers: ['ops'], continue: false,
    });
    expect(shown.all('#edit')).toHaveLength(0);
  });

  it('is edited at its version, and may tell whom its parent tells', async () => {
    const shown = await Page.open('/routes', { ...tree, 'PUT routes/team%20a': TEAM });
    shown.find('[aria-label="Edit team a"]').click();
    await shown.settle();
    expect(shown.texts('[name=parent] option')).toEqual(['default']);
    shown.find<HTMLInputElement>('[name=inherit]').click();
    await shown.fill('[name=selector]', '');
    await shown.submit('form');
    const asked = shown.requests('PUT routes/team%20a').at(-1);
    expect(asked?.headers.get('If-Match')).toBe('"4"');
    expect(asked?.body).toEqual({ name: 'team a', parent: 'default', order: 10, matchers: [], receivers: null, continue: true });
  });

  it('is the default one, which takes every alert and can be told whom to tell, no more', async () => {
    const shown = await Page.open('/routes', { ...tree, 'PUT routes/default': TEAM });
    shown.find('[aria-label="Edit default"]').click();
    await shown.settle();
    for (const field of ['parent', 'selector', 'order', 'continue', 'inherit']) expect(shown.all(`[name=${field}]`)).toHaveLength(0);
    shown.find<HTMLInputElement>('fieldset .tick:nth-of-type(1) input').click();
    await shown.submit('form');
    expect(shown.requests('PUT routes/default').at(-1)?.body).toEqual({ name: 'default', parent: '', order: 10, matchers: [], receivers: ['dev', 'ops'], continue: false });
  });

  it('is refused with the reason, and stays to be mended', async () => {
    const shown = await Page.open('/routes', { ...tree, 'POST routes': new Refusal(400, "route 'a': there is no receiver named 'x'") });
    await shown.click('New route');
    await shown.fill('[name=name]', 'a');
    await shown.submit('form');
    expect(shown.find('[role=alert]').textContent).toContain("there is no receiver named 'x'");
    await shown.fill('[name=selector]', '{host=a}');
    await shown.submit('form');
    expect(shown.find('[role=alert]').textContent).toContain('cannot be read at “host=a”');
    await shown.click('Cancel');
    expect(shown.all('[role=alert], #edit')).toHaveLength(0);
  });

  it('is tried on the last day: who would have been woken, beside the routes in force', async () => {
    const answers: object[] = [aReport({ pages: [page('ops'), page('ops'), page('ops', 'resolved')] as never }), aReport({ pages: [page('dev')] as never })];
    const shown = await Page.open('/routes', { ...tree, 'POST replay': () => answers.shift() });
    shown.find('[aria-label="Edit team a"]').click();
    await shown.settle();
    await shown.click('Who would it have woken on the last day?');
    expect(shown.texts('[role=status] li')).toEqual(['dev 0 times by the routes in force 1 time like that', 'ops 2 times by the routes in force 0 times like that']);
    const asked = shown.requests('POST replay').map((one) => one.body as { routes: { name: string }[] });
    expect(asked.map((one) => one.routes.map((each) => each.name))).toEqual([['default', 'team a', 'loud'], ['default', 'loud', 'team a']]);
  });

  it('would have woken nobody', async () => {
    const shown = await Page.open('/routes', { ...tree, 'POST replay': aReport({ pages: [] }) });
    await shown.click('New route');
    await shown.fill('[name=name]', 'a');
    await shown.click('Who would it have woken on the last day?');
    expect(shown.text).toContain('Nobody would have been woken on the last day');
  });

  it('is deleted when that is wanted, and not when it is not', async () => {
    const shown = await Page.open('/routes', { ...tree, 'DELETE routes/loud': null });
    const asked = vi.spyOn(window, 'confirm').mockReturnValue(false);
    shown.find('[aria-label="Delete loud"]').click();
    await shown.settle();
    expect(shown.requests('DELETE routes/loud')).toHaveLength(0);
    asked.mockReturnValue(true);
    shown.answers['GET routes'] = alone['GET routes'];
    shown.find('[aria-label="Delete loud"]').click();
    await shown.settle();
    expect(shown.requests('DELETE routes/loud')).toHaveLength(1);
    expect(shown.text).toContain('There is the default route alone');
    asked.mockRestore();
  });
});

describe('whom an alert is told to', () => {
  const steps = [
    { route: 'default', outcome: 'led_on', why: 'a route below it matches' }, { route: 'team a', outcome: 'told', why: 'it tells ops' },
    { route: 'loud', outcome: 'no_match', why: 'there is no severity' }, { route: 'later', outcome: 'not_reached', why: 'too late' },
  ];

  it('is asked by its labels, and told with every step', async () => {
    const shown = await Page.open('/routes', { ...tree, 'POST routes/test': { receivers: ['ops'], routes: ['team a'], steps, left_out: 2 } });
    await shown.fill('[name=labels]', '{team="a"}');
    await shown.submit('form');
    expect(shown.requests('POST routes/test').at(-1)?.body).toEqual({ labels: { team: 'a' } });
    expect(shown.find('[role=status] p').textContent).toMatch(/ops would be told,\s+by team a\./);
    expect(shown.texts('q-steps .chip')).toEqual(['leads on', 'decides', 'does not match', 'not reached']);
    expect(shown.text).toContain('and 2 routes more');
  });

  it('is nobody, if nothing says otherwise', async () => {
    const shown = await Page.open('/routes', { ...alone, 'POST routes/test': { receivers: [], routes: ['default'], steps: steps.slice(0, 1), left_out: 0 } });
    await shown.submit('form');
    expect(shown.requests('POST routes/test').at(-1)?.body).toEqual({ labels: {} });
    expect(shown.find('[role=status] p').textContent).toMatch(/Nobody would be told,\s+by default\./);
  });

  it('cannot be asked with a pattern', async () => {
    const shown = await Page.open('/routes', alone);
    await shown.fill('[name=labels]', '{team=~"a"}');
    await shown.submit('form');
    expect(shown.find('[role=alert]').textContent).toContain('write team="…"');
  });
});
