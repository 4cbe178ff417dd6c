import { Points } from '../api/messages';
import { dice } from '../../testing/dice';
import { chartColumns, grown, padded, scoreColumns } from './points';

/** Points at some times, with a value and a score each. */
function points(at_ms: number[], value: (number | null)[] = at_ms.map(() => 1), score: (number | null)[] = at_ms.map(() => 0)): Points {
  const some = at_ms.map((at) => at / 10);
  return { at_ms, value, score, expected: some, lower: some, upper: some };
}

describe('the columns of a chart', () => {
  it('are in seconds and in the order of the drawing', () => {
    const { at_ms, upper, lower, expected, value } = points([1000, 2500]);
    expect(chartColumns(points([1000, 2500]))).toEqual([at_ms.map((at) => at / 1000), upper, lower, expected, value, [null, null]]);
  });
  it('mark the samples that are rarer than one in a thousand, and only those', () => {
    expect(chartColumns(points([1, 2, 3, 4], [5, 6, 7, 8], [0.29, 0.3, null, 1]))[5]).toEqual([null, 6, null, 8]);
  });
  it('keep a gap a gap', () => expect(chartColumns(points([1, 2, 3], [5, null, 7]))[4]).toEqual([5, null, 7]));
  it('are empty without points', () => expect(chartColumns(points([]))).toEqual([[], [], [], [], [], []]));
  it('show a sample without a score as 0 in the strip', () => expect(scoreColumns(points([1000], [1], [null]))).toEqual([[1], [0]]));
});

describe('points that grow', () => {
  it('take what is newer and let go of what is too old, in every column', () => {
    const now = grown(points([100, 200, 300], [1, 2, 3]), points([300, 400], [9, 4]), 200);
    expect(now).toEqual(points([200, 300, 400], [2, 3, 4]));
  });
  it('stay as they are when nothing is newer', () => {
    expect(grown(points([100, 200]), points([100, 200]), 0)).toBeNull();
    expect(grown(points([100]), points([]), 0)).toBeNull();
  });
  it('begin with the first that come', () => expect(grown(points([]), points([5]), 0)?.at_ms).toEqual([5]));
  it('let go of everything when all of it is too old', () => expect(grown(points([100, 200]), points([900]), 800)?.at_ms).toEqual([900]));
  it('stay in order, without repetition, and with columns of one length, whatever comes', () => {
    const roll = dice(11);
    let now = points([]);
    for (let turn = 0; turn < 500; turn++) {
      const begin = roll.below(2000) + turn * 10;
      now = grown(now, points(Array.from({ length: roll.below(6) }, (_, i) => begin + i)), turn * 10 - 500) ?? now;
      expect(now.at_ms).toEqual([...new Set(now.at_ms)].sort((a, b) => a - b));
      expect(new Set(Object.values(now).map((column: unknown[]) => column.length)).size).toBe(1);
    }
    expect(now.at_ms.length).toBeGreaterThan(10);
  });
});

describe('the range of an axis', () => {
  it.each<[number | null, number | null, [number, number]]>([
    [null, null, [0, 1]], [0, 100, [0, 108]], [-100, 100, [-116, 116]], [50, 50, [45, 55]], [0, 0, [0, 1]], [100, 200, [92, 208]],
  ])('from %s to %s is %s', (min, max, range) => expect(padded(min, max)).toEqual(range));
});
