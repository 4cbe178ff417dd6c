/** Lists that are read page by page, newest first, while their first page changes. */

/**
 * A newly read first page, followed by what was read before and is older than all of it: somebody who looks at old
 * things keeps them when something new happens.
 */
export function refreshed<T extends { id: string }>(known: readonly T[], first: readonly T[], beganMs: (one: T) => number): T[] {
  const last = first.at(-1);
  if (!last) return [];
  const ids = new Set(first.map((one) => one.id));
  return [...first, ...known.filter((one) => !ids.has(one.id) && beganMs(one) <= beganMs(last))];
}
