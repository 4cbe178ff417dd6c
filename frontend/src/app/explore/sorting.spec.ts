import { aSeries } from '../../testing/things';
import { nextSorting, readSorting, sorted } from './sorting';

const names = (items: { name: string }[]) => items.map((one) => one.name).join('');
const [a, b, c] = [
  aSeries({ name: 'a', value: 2, score: 0.1, status: 'ok' }), aSeries({ name: 'b', value: null, score: 0.9, status: 'silent' }),
  aSeries({ name: 'c', value: 1, score: 0.5, status: 'late' }),
];

describe('sorting', () => {
  it('is what the address says', () => {
    expect(readSorting('-score')).toEqual({ column: 'score', falling: true });
    expect(readSorting('status')).toEqual({ column: 'status', falling: false });
    expect([readSorting(undefined), readSorting(''), readSorting('-'), readSorting('colour')]).toEqual([null, null, null, null]);
  });

  it('goes by click from the direction that matters to the other and back to none', () => {
    expect(nextSorting(null, 'score')).toBe('-score');
    expect(nextSorting(readSorting('-score'), 'score')).toBe('score');
    expect(nextSorting(readSorting('score'), 'score')).toBeNull();
    expect(nextSorting(readSorting('score'), 'series')).toBe('series');
    expect(nextSorting(readSorting('series'), 'series')).toBe('-series');
    expect(nextSorting(readSorting('-series'), 'series')).toBeNull();
  });

  it('leaves the order of the server when there is none, and its list alone', () => {
    const items = [c, a, b];
    expect(names(sorted(items, null))).toBe('cab');
    sorted(items, readSorting('series'));
    expect(names(items)).toBe('cab');
  });

  it('is by name, by value, by score, and by how bad the status is', () => {
    expect(names(sorted([c, a, b], readSorting('series')))).toBe('abc');
    expect(names(sorted([c, a, b], readSorting('-series')))).toBe('cba');
    expect(names(sorted([c, a, b], readSorting('-score')))).toBe('bca');
    const d = aSeries({ name: 'd', status: 'unusual' });
    expect(names(sorted([c, a, d, b], readSorting('status')))).toBe('bdca');
  });

  it('puts series without a value last in either direction', () => {
    expect(names(sorted([b, a, c], readSorting('value')))).toBe('cab');
    expect(names(sorted([b, a, c], readSorting('-value')))).toBe('acb');
  });
});
