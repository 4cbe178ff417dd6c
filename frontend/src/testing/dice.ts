/** A small seeded generator (mulberry32), so that a property that fails fails again. */
export function dice(seed: number) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)];
  const text = (letters: string) => Array.from({ length: below(8) }, () => pick([...letters])).join('');
  return { next, below, pick, text };
}
