import { compact, count, duration, labelLine, many, moment, range, zone } from './format';

describe('a number', () => {
  it.each([
    [0, '0'], [1, '1'], [-1, '-1'], [0.123456, '0.1235'], [1234.5678, '1235'], [9999.4, '9999'], [9999.5, '10k'], [12_345, '12.3k'],
    [-12_345, '-12.3k'], [999_949, '1M'], [1_000_000, '1M'], [8.59e9, '8.59G'], [2.5e12, '2.5T'], [4e18, '4E'], [1e21, '1.00e+21'],
    [0.00012, '1.2e-4'], [-0.00012, '-1.2e-4'], [0.001, '0.001'],
  ])('%d is shown as %s', (value, text) => expect(compact(value)).toBe(text));

  it.each([null, undefined, NaN, Infinity, -Infinity])('%s is a dash, not a zero', (value) => expect(compact(value)).toBe('–'));

  it('never needs more than nine characters and keeps three digits, whatever its size', () => {
    for (let exponent = -300; exponent <= 300; exponent++) {
      for (const lead of [1, 1.005, 2.718281828, 9.9949, 9.9999]) {
        const text = compact(lead * 10 ** exponent);
        expect(text.length, text).toBeLessThanOrEqual(9);
        const power = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 }[text.slice(-1)] ?? 1;
        const shown = (power === 1 ? Number(text) : Number(text.slice(0, -1))) * power;
        expect(Math.abs(shown / (lead * 10 ** exponent) - 1), text).toBeLessThan(exponent < -3 ? 0.05 : 0.0051);
      }
    }
  });
});

describe('a range', () => {
  it.each([
    [0.2, 0.6, '0.2 to 0.6'], [25, 25, '25'], [25.011, 25.014, '25.01'], [24, 26, '24 to 26'], [null, null, '–'],
  ])('of %d and %d is shown as %s', (lower, upper, text) => expect(range(lower, upper)).toBe(text));
});

describe('a count', () => {
  it.each([[0, '0'], [999, '999'], [1000, '1\u202f000'], [1_234_567, '1\u202f234\u202f567']])('%d is exact: %s', (value, text) => expect(count(value)).toBe(text));
  it('agrees with its noun', () => {
    expect([many(0, 'alert'), many(1, 'alert'), many(2, 'alert'), many(1, 'series', 'series')]).toEqual(['0 alerts', '1 alert', '2 alerts', '1 series']);
  });
});

describe('a duration', () => {
  it.each([
    [-5000, '0 s'], [0, '0 s'], [499, '0 s'], [59_499, '59 s'], [59_500, '1 min'], [3_599_000, '59 min'], [3_600_000, '1 h'], [5_400_000, '1 h 30 min'],
    [86_399_000, '23 h 59 min'], [86_400_000, '1 d'], [100_000_000, '1 d 3 h'], [7 * 86_400_000, '7 d'],
  ])('of %d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));
});

describe('a moment', () => {
  it('is a dash when there is none', () => expect(moment(null)).toBe('–'));
  it('is the local time, as in a log', () => {
    expect(moment(new Date(2026, 6, 1, 2, 3, 4).getTime())).toBe('2026-07-01 02:03:04');
    expect(moment(new Date(2026, 11, 31, 23, 59, 59, 999).getTime())).toBe('2026-12-31 23:59:59');
  });
});

describe('a time zone', () => {
  const summer = Date.UTC(2026, 6, 1), winter = Date.UTC(2026, 0, 1);
  it('is named with its distance from UTC at that moment', () => {
    expect(zone(summer, 'Europe/Berlin')).toBe('Europe/Berlin, UTC+2');
    expect(zone(winter, 'Europe/Berlin')).toBe('Europe/Berlin, UTC+1');
    expect(zone(winter, 'Asia/Kolkata')).toBe('Asia/Kolkata, UTC+5:30');
  });
  it('is said once where it is UTC', () => expect(zone(winter, 'UTC')).toBe('UTC'));
});

describe('labels', () => {
  it('are one line without the name of the metric', () => {
    expect(labelLine({ __name__: 'cpu', host: 'a', mode: 'idle' })).toBe('host=a  mode=idle');
    expect(labelLine({ __name__: 'cpu' })).toBe('');
  });
});
