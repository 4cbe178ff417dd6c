import { dice } from '../../testing/dice';
import { refreshed } from './pages';

const one = (id: string, at: number, word = '') => ({ id, at, word });
const again = (known: ReturnType<typeof one>[], first: ReturnType<typeof one>[]) => refreshed(known, first, (each) => each.at);

describe('a list whose first page is read again', () => {
  it('is that page when it is all there is', () => expect(again([one('a', 3), one('b', 2)], [])).toEqual([]));
  it('has what is new in front and keeps what is older', () => {
    expect(again([one('b', 2), one('a', 1)], [one('c', 3), one('b', 2)]).map(({ id }) => id)).toEqual(['c', 'b', 'a']);
  });
  it('has the newest words about each', () => expect(again([one('a', 1, 'old')], [one('a', 1, 'new')])).toEqual([one('a', 1, 'new')]));
  it('lets go of what has left the page, and does not show it further down', () => {
    expect(again([one('c', 3), one('b', 2), one('a', 1)], [one('c', 3), one('a', 1)]).map(({ id }) => id)).toEqual(['c', 'a']);
  });
  it('stays in order and without repetition, whatever comes', () => {
    const roll = dice(2);
    const all = Array.from({ length: 60 }, (_, i) => one(`n${i}`, i));
    let known: ReturnType<typeof one>[] = [];
    for (let turn = 0; turn < 300; turn++) {
      const page = all.filter(() => roll.below(3)).reverse().slice(0, 10);
      known = again(roll.below(2) ? known : [...known, ...all.slice(0, roll.below(20)).reverse().filter((each) => each.at < (known.at(-1)?.at ?? 0))], page);
      const times = known.map((each) => each.at);
      expect(times).toEqual([...new Set(times)].sort((a, b) => b - a));
    }
  });
});
