import { Points } from '../api/messages';

const COLUMNS = ['at_ms', 'value', 'expected', 'lower', 'upper', 'score'] as const;
/** A sample rarer than one in a thousand. */
export const ODD_SCORE = 0.3;

/** Columns for the chart: seconds, upper, lower, expected, value, and the odd values alone; a gap stays a gap. */
export function chartColumns(points: Points): (number | null)[][] {
  const odd = points.value.map((value, i) => ((points.score[i] ?? 0) >= ODD_SCORE ? value : null));
  return [points.at_ms.map((at) => at / 1000), points.upper, points.lower, points.expected, points.value, odd];
}

/** Columns for the strip of scores: seconds, and the score of each sample, 0 where it has none. */
export function scoreColumns(points: Points): number[][] {
  return [points.at_ms.map((at) => at / 1000), points.score.map((score) => score ?? 0)];
}

/** Points with those that are newer than the last one, and without those before a time; null if nothing is newer. */
export function grown(points: Points, newer: Points, fromMs: number): Points | null {
  const last = points.at_ms.at(-1) ?? -Infinity;
  const fresh = [...newer.at_ms.keys()].filter((i) => newer.at_ms[i] > last);
  if (!fresh.length) return null;
  const within = points.at_ms.findIndex((at) => at >= fromMs);
  const kept = within < 0 ? points.at_ms.length : within;
  return Object.fromEntries(COLUMNS.map((name) => [name, [...points[name].slice(kept), ...fresh.map((i) => newer[name][i])]])) as unknown as Points;
}

/** A range for the axis that leaves some air; one value alone gets a range around it, and none gets 0 to 1. */
export function padded(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1];
  const air = max > min ? (max - min) * 0.08 : Math.abs(max) * 0.1 || 1;
  return [min >= 0 && min - air < 0 ? 0 : min - air, max + air];
}
