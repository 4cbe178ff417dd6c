import { Condition, Matcher, PolicyItem } from '../api/messages';
import { aPolicy } from '../../testing/things';
import { dice } from '../../testing/dice';
import { Draft, draftOf, emptyDraft, matcherText, mistakesOf, parseMatchers, requestOf } from './draft';

const sound = (part: Partial<Draft> = {}): Draft => ({ ...emptyDraft(), name: 'CPU', selector: 'cpu', ...part });

/** A policy as the API may give it, with awkward names and values. */
function somePolicy(roll: ReturnType<typeof dice>): PolicyItem {
  const text = () => roll.text('ab_"\\{}=~!,. \n\té😀');
  const matchers: Matcher[] = [{ label: '__name__', op: '=', value: roll.pick(['cpu', 'a:b', 'no name', '7', '']) }];
  for (let more = roll.below(4); more >= 0; more--) matchers.push({ label: roll.pick(['host', 'a.b', 'with space', 'q"']), op: roll.pick(['=', '!=', '=~', '!~']), value: text() || 'x' });
  const limits = { raise_at: roll.below(1000) / 10, ...(roll.below(2) ? { clear_at: roll.below(1000) / 10 } : {}) };
  const condition = roll.pick<Condition>([
    { kind: 'threshold', op: 'below', ...limits }, { kind: 'anomaly_score', ...limits, direction: roll.pick(['above', 'below', 'either']) }, { kind: 'page_budget', pages: 1 + roll.below(9), per_ms: 86_400_000, direction: roll.pick(['above', 'below', 'either']) }, { kind: 'absence', after_ms: roll.below(1e6) },
    { kind: 'rate_of_change', op: 'above', window_ms: roll.below(1e6), ...limits },
  ]);
  return aPolicy({
    matchers, condition, by: roll.pick([[], ['host'], ['host', 'mode']]), for_ms: roll.below(1e6), keep_firing_for_ms: roll.below(1e6),
    severity: roll.pick(['info', 'warning', 'critical']), receivers: roll.pick([[], ['on-call'], ['a', 'b']]), enabled: roll.below(2) === 1, summary: text(),
  });
}

describe('a draft', () => {
  it('gives back the policy that it was made from, whatever the policy is', () => {
    const roll = dice(7);
    for (let turn = 0; turn < 500; turn++) {
      const { id: _, version: __, ...policy } = somePolicy(roll);
      const request = requestOf(draftOf({ ...policy, id: 'p', version: 1 } as PolicyItem));
      expect({ ...request, matchers: undefined }).toEqual({ ...policy, matchers: undefined });
      expect(request.matchers).toHaveLength(policy.matchers.length);
      expect(request.matchers).toEqual(expect.arrayContaining(policy.matchers));
    }
  });

  it('does not share its lists with the policy', () => {
    const policy = aPolicy();
    draftOf(policy).receivers.push('somebody else');
    expect(policy.receivers).toEqual(['on-call']);
  });

  it('is in seconds where the API has milliseconds', () => {
    expect(requestOf(sound({ for_s: 1.5, keep_s: 0 }))).toMatchObject({ for_ms: 1500, keep_firing_for_ms: 0 });
    expect(requestOf(sound({ kind: 'absence', after_s: 90 })).condition).toEqual({ kind: 'absence', after_ms: 90_000 });
  });

  it('sends only what its kind of condition has', () => {
    const draft = sound({ raise_at: 5, clear_at: 4, op: 'below', window_s: 60 });
    expect(requestOf({ ...draft, kind: 'threshold' }).condition).toEqual({ kind: 'threshold', op: 'below', raise_at: 5, clear_at: 4 });
    expect(requestOf({ ...draft, kind: 'anomaly_score' }).condition).toEqual({ kind: 'anomaly_score', raise_at: 5, clear_at: 4, direction: 'either' });
    expect(requestOf({ ...draft, kind: 'rate_of_change' }).condition).toEqual({ kind: 'rate_of_change', op: 'below', window_ms: 60_000, raise_at: 5, clear_at: 4 });
  });

  it('leaves out a second limit that nobody gave, and empty labels', () => {
    expect(requestOf(sound({ kind: 'threshold', clear_at: null })).condition).not.toHaveProperty('clear_at');
    expect(requestOf(sound({ by: ' host,, mode ,' })).by).toEqual(['host', 'mode']);
    expect(requestOf(sound({ by: '' })).by).toEqual([]);
  });
});

describe('the mistakes of a draft', () => {
  it('are none in a new draft that has a name and a selector', () => expect(mistakesOf(sound())).toEqual({}));

  it.each<[string, Partial<Draft>, keyof Draft]>([
    ['no name', { name: '  ' }, 'name'],
    ['no selector', { selector: '' }, 'selector'],
    ['a selector that cannot be read', { selector: 'cpu{host=a}' }, 'selector'],
    ['a duration that is no number', { for_s: null as unknown as number }, 'for_s'],
    ['a negative duration', { for_s: -1 }, 'for_s'],
    ['more than thirty days', { keep_s: 2_592_001 }, 'keep_s'],
    ['an absence under a second', { kind: 'absence', after_s: 0.5 }, 'after_s'],
    ['a window under a second', { kind: 'rate_of_change', window_s: 0 }, 'window_s'],
    ['no limit', { kind: 'threshold', raise_at: null as unknown as number }, 'raise_at'],
    ['a score of nothing', { raise_at: 0 }, 'raise_at'],
    ['a score over one', { raise_at: 1.01 }, 'raise_at'],
    ['a score that mends at nothing', { raise_at: 0.5, clear_at: 0 }, 'clear_at'],
    ['a score that mends above where it breaks', { raise_at: 0.5, clear_at: 0.6 }, 'clear_at'],
    ['mending above a limit that breaks above', { kind: 'threshold', raise_at: 5, clear_at: 6 }, 'clear_at'],
    ['mending below a limit that breaks below', { kind: 'threshold', op: 'below', raise_at: 5, clear_at: 4 }, 'clear_at'],
  ])('name the field: %s', (_, part, field) => {
    expect(Object.keys(mistakesOf(sound(part)))).toEqual([field]);
    expect(mistakesOf(sound(part))[field]).toMatch(/^[A-Z“].*\.$/);
  });

  it('do not speak of fields that its kind does not have', () => {
    expect(mistakesOf(sound({ kind: 'absence', raise_at: 99, window_s: 0 }))).toEqual({});
    expect(mistakesOf(sound({ kind: 'threshold', raise_at: 99, after_s: 0 }))).toEqual({});
  });

  it('allow the bounds themselves', () => {
    expect(mistakesOf(sound({ for_s: 0, keep_s: 2_592_000, raise_at: 1, clear_at: 1 }))).toEqual({});
    expect(mistakesOf(sound({ kind: 'threshold', op: 'below', raise_at: 5, clear_at: 5 }))).toEqual({});
  });
});

describe('a selector', () => {
  it.each<[string, Matcher[]]>([
    ['cpu', [{ label: '__name__', op: '=', value: 'cpu' }]],
    ['  a:b_total { } ', [{ label: '__name__', op: '=', value: 'a:b_total' }]],
    ['cpu{host="a"}', [{ label: '__name__', op: '=', value: 'cpu' }, { label: 'host', op: '=', value: 'a' }]],
    ['{host!="a" , mode=~"i.*", x!~"y",}', [{ label: 'host', op: '!=', value: 'a' }, { label: 'mode', op: '=~', value: 'i.*' }, { label: 'x', op: '!~', value: 'y' }]],
    ['{a="},{"}', [{ label: 'a', op: '=', value: '},{' }]],
    ['{a="\\"\\\\\\n"}', [{ label: 'a', op: '=', value: '"\\\n' }]],
    ['{"a b"="c"}', [{ label: 'a b', op: '=', value: 'c' }]],
  ])('%s is read as Prometheus reads it', (text, matchers) => expect(parseMatchers(text)).toEqual(matchers));

  it.each([
    ['', /Name the series/], ['{}', /Name the series/], ['cpu{host=}', /cannot be read at “host=}?/], ['cpu{host="a"', /Name the series/],
    ['cpu{host="a" mode="b"}', /cannot be read/], ['{a="\\d"}', /“\\d” is no escape/], ['{a=""}', /every series would match/], ['{a=~""}', /every series would match/],
    [`{${Array.from({ length: 21 }, (_, i) => `l${i}="x"`).join(',')}}`, /at most 20 matchers, these are 21/], ['cpu other', /Name the series/],
  ])('%s is refused with a reason', (text, reason) => expect(() => parseMatchers(text)).toThrow(reason));

  it('is written so that it is read the same', () => {
    const roll = dice(3);
    for (let turn = 0; turn < 1000; turn++) {
      const { matchers } = somePolicy(roll);
      const again = parseMatchers(matcherText(matchers));
      expect(again).toHaveLength(matchers.length);
      expect(again).toEqual(expect.arrayContaining(matchers));
    }
  });
});
