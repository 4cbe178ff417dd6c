import { NEVER } from 'rxjs';
import { Page, Refusal } from '../../testing/page';
import { AT_MS, VIEWER, aSeries } from '../../testing/things';
import { CoveragePage, ModelItem, ModelList, ModelVersionItem, TrainingRunItem, TrialItem } from '../api/messages';

function aVersion(part: Partial<ModelVersionItem> = {}): ModelVersionItem {
  return {
    name: 'siblings', version: 2, kind: 'peers', combine: 'either', state: 'shadow', sha256: '0123456789abcdef'.repeat(4), size: 2048, created_at_ms: AT_MS, promoted_at_ms: null,
    lineage: { selector: 'node_load1', series: 12, samples: 17_280, start_ms: AT_MS - 86_400_000, end_ms: AT_MS, parent: 1, code: '0.1.0', seed: 0, actor: 'ada' },
    metrics: { one_in_a_hundred: 0.0125 }, ...part,
  };
}

function aModel(part: Partial<ModelItem> = {}): ModelItem {
  const work = { rows: 5000, odd_rows: 3, tenths: [], left_out: {} };
  return {
    name: 'siblings', kind: 'peers', promoted: { ...work, version: 1, drift: 0.04 },
    shadow: { ...work, version: 2, drift: 0.31, left_out: { 'the series lacks a label to group by': 4 } },
    versions: [aVersion(), aVersion({ version: 1, state: 'promoted', promoted_at_ms: AT_MS })], ...part,
  };
}

function aRun(part: Partial<TrainingRunItem> = {}): TrainingRunItem {
  return {
    id: 'r1', name: 'siblings', kind: 'peers', selector: 'node_load1', state: 'running', progress: 0.4, message: 'grew 40 of 100 trees', actor: 'ada',
    asked_at_ms: AT_MS, started_at_ms: AT_MS, ended_at_ms: null, version: null, ...part,
  };
}

const TRIAL: TrialItem = { name: 'siblings', version: 2, start_ms: AT_MS - 86_400_000, end_ms: AT_MS, alerts_now: 3, alerts_then: 1, confirmed: 2, lost: [], sooner: 0 };

function aCoverage(part: Partial<CoveragePage> = {}): CoveragePage {
  return { full: 43, cheap: 0, none: 0, full_series: 10_000, rules: [], items: [], next_cursor: null, ...part };
}

function answers(items: ModelItem[] = [aModel()], runs: TrainingRunItem[] = []): Record<string, unknown> {
  const list: ModelList = { detector: { name: 'robust-seasonal', version: 3, series: 43, learning: 2 }, items };
  return { 'GET models': list, 'GET training-runs': { items: runs }, 'GET models/coverage': aCoverage() };
}

describe('the page of models', () => {
  it('is read', async () => expect((await Page.open('/models', { 'GET models': NEVER, 'GET training-runs': NEVER, 'GET models/coverage': NEVER })).text).toContain('Reading…'));

  it('offers a viewer nothing to train, try out or promote', async () => {
    const page = await Page.open('/models', answers([aModel()], [aRun()]), VIEWER);
    expect(page.text).toContain('grew 40 of 100 trees');
    expect(page.all('button, form')).toHaveLength(0);
  });

  it('says who decides where there is no model', async () => {
    const page = await Page.open('/models', answers([]));
    for (const words of ['No model yet: the default detector decides alone', '43 series by itself', '2 still learning', 'Nothing was trained since this process began']) expect(page.text).toContain(words);
  });

  it('cannot be read', async () => {
    const page = await Page.open('/models', { ...answers(), 'GET models': new Refusal(0) });
    expect(page.find('[role=alert]').textContent).toBe('Quantum cannot be reached. Is it still running?');
    expect(page.text).toContain('They could not be read.');
  });

  it('shows versions, what they were trained on, how they do, and what they leave out', async () => {
    const page = await Page.open('/models', answers());
    for (const words of ['Promoted version 1', 'drift 0.04, as in training', 'Watching version 2', 'train it again', '4 series not modelled: the series lacks a label to group by', 'node_load1', '12 series, 17.3k samples over 1 d', 'one in 80', 'by ada, after version 1', 'sha256 0123456789ab']) expect(page.text).toContain(words);
    expect(page.find('td [title]').title).toBe(`sha256 ${'0123456789abcdef'.repeat(4)}, made by 0.1.0 with seed 0`);
    expect(page.texts('q-badge')).toEqual(['●shadow', '●promoted']);
  });

  it('says so where no version scores, and where nothing can be told yet', async () => {
    const still = aModel({ promoted: null, shadow: null, versions: [aVersion({ metrics: {}, state: 'retired' })] });
    expect((await Page.open('/models', answers([still]))).text).toContain('No version scores now.');
  });

  it('tells a middling drift and too few rows apart', async () => {
    const one = aModel();
    one.promoted!.drift = null;
    one.shadow!.drift = 0.2;
    const page = await Page.open('/models', answers([one]));
    for (const words of ['too few to tell a drift', 'a little unlike training']) expect(page.text).toContain(words);
  });

  it('tries a version out and says what it would have changed', async () => {
    const page = await Page.open('/models', { ...answers(), 'POST models/siblings/try': TRIAL });
    await page.click('Try out');
    expect(page.find('[role=status]').textContent).toBe('Over the last 1 d, version 2 of siblings would have raised 1 alert instead of 3, and lost 0 of 2 incidents judged real.');
    expect(page.requests('POST models/siblings/try')[0].body).toEqual({ version: 2 });
    page.answers['POST models/siblings/try'] = { ...TRIAL, sooner: 1 };
    await page.click('Try out');
    expect(page.find('[role=status]').textContent).toContain('2 incidents judged real. It would have told 1 of them sooner.');
  });

  it('promotes a version, or says why it is refused', async () => {
    const page = await Page.open('/models', { ...answers(), 'POST models/siblings/promote': new Refusal(409, 'It would have raised 9 alerts instead of 3.') });
    await page.click('Promote');
    expect(page.find('[role=alert]').textContent).toBe('It would have raised 9 alerts instead of 3.');
    page.answers['POST models/siblings/promote'] = TRIAL;
    await page.click('Promote');
    expect(page.find('[role=status]').textContent).toContain('Promoted. Over the last 1 d');
  });

  it('rolls back only after it was asked twice', async () => {
    const page = await Page.open('/models', { ...answers(), 'POST models/siblings/roll-back': aModel() });
    const asked = vi.spyOn(window, 'confirm').mockReturnValueOnce(false).mockReturnValueOnce(true);
    await page.click('Roll back');
    expect(page.requests('POST models/siblings/roll-back')).toHaveLength(0);
    await page.click('Roll back');
    expect(page.requests('POST models/siblings/roll-back')).toHaveLength(1);
    asked.mockRestore();
  });

  it('trains what the form says', async () => {
    const page = await Page.open('/models', { ...answers([]), 'POST training-runs': aRun() });
    await page.fill('input[name=name]', 'siblings');
    await page.fill('input[name=selector]', 'node_load1');
    await page.fill('input[name=by]', 'host, zone');
    await page.submit();
    const body = page.requests('POST training-runs')[0].body as Record<string, unknown>;
    expect(body).toMatchObject({ name: 'siblings', kind: 'peers', selector: 'node_load1', by: ['host', 'zone'], combine: 'either' });
    expect((body['end_ms'] as number) - (body['start_ms'] as number)).toBe(86_400_000);
  });

  it('trains a deep model without labels to group by, and says what is missing where it cannot', async () => {
    const page = await Page.open('/models', { ...answers([]), 'POST training-runs': new Refusal(400, 'training of a deep-forecaster needs TensorFlow, which is not installed: install quantum[deep]') });
    await page.fill('input[name=name]', 'next');
    await page.fill('input[name=selector]', 'node_load1');
    await page.fill('select[name=kind]', 'deep-forecaster');
    expect(page.element.querySelector('input[name=by]')).toBeNull();
    await page.submit();
    expect(page.requests('POST training-runs')[0].body).toMatchObject({ name: 'next', kind: 'deep-forecaster', by: [] });
    expect(page.find('[role=alert]').textContent).toContain('install quantum[deep]');
  });

  it('follows a run as it goes, reads what it left, and cancels one', async () => {
    const page = await Page.open('/models', { ...answers([], [aRun()]), 'POST training-runs/r1/cancel': aRun({ state: 'cancelled' }) });
    page.sockets.newest.accept();
    page.sockets.newest.speak({ type: 'subscribed', topic: 'training' });
    page.sockets.newest.publish('training', 1, aRun({ progress: 0.9, message: 'calibrating' }));
    await page.settle();
    expect(page.text).toContain('calibrating');
    expect(page.find<HTMLProgressElement>('progress').value).toBe(0.9);
    await page.click('Cancel');
    expect(page.requests('POST training-runs/r1/cancel')).toHaveLength(1);
    const before = page.requests('GET models').length;
    page.sockets.newest.publish('training', 2, aRun({ id: 'r2', state: 'done', ended_at_ms: AT_MS, message: 'version 1 watches now' }));
    await page.settle();
    expect(page.requests('GET models').length).toBeGreaterThan(before);
  });

  it('says that every series is watched in full', async () => {
    const page = await Page.open('/models', answers([]));
    for (const words of ['43 with the full detector, 0 with the cheap one, 0 stored and not scored', 'The first 10\u202f000 series get the full one.', 'Every series is watched in full.']) expect(page.element.textContent).toContain(words);
  });

  it('lists the series that are not watched in full, why, and by which rules, page by page', async () => {
    const cheap = aSeries({ fingerprint: '00000000000000b1', name: 'queue', labels: { q: '7' }, tier: 'cheap', tier_reason: 'full_series limit 2 reached' });
    const stored = aSeries({ fingerprint: '00000000000000b2', name: 'info', tier: 'none', tier_reason: 'rule 1: {__name__="info"}' });
    const first = aCoverage({ full: 2, cheap: 1, none: 1, full_series: 2, rules: [{ match: '{__name__="info"}', tier: 'none' }], items: [cheap], next_cursor: '00000000000000b1' });
    const page = await Page.open('/models', { ...answers([]), 'GET models/coverage': first });
    for (const words of ['2 with the full detector, 1 with the cheap one, 1 stored and not scored', 'unless a rule decides', 'Rule 1: {__name__="info"} gets stored, not scored', 'queue', 'cheap detector: full_series limit 2 reached']) expect(page.text).toContain(words);
    page.answers['GET models/coverage'] = { ...first, items: [stored], next_cursor: null };
    await page.click('More');
    expect(page.requests('GET models/coverage')[1].params.get('cursor')).toBe('00000000000000b1');
    expect(page.texts('[aria-label="Series that are not watched in full"] b')).toEqual(['queue', 'info']);
    expect(page.find('a[href="/series/00000000000000b2"]').textContent).toContain('stored, not scored');
    expect(page.texts('button')).not.toContain('More');
  });

  it('shows models where the coverage cannot be read', async () => {
    const page = await Page.open('/models', { ...answers(), 'GET models/coverage': new Refusal(0) });
    expect(page.text).toContain('It could not be read.');
    expect(page.text).toContain('Promoted version 1');
  });
});
