import { SeriesItem } from '../api/messages';

export type Column = 'series' | 'status' | 'value' | 'score';
/** By which column a table is sorted, and whether the largest come first. */
export interface Sorting { column: Column; falling: boolean }

const STATUS = ['silent', 'unusual', 'late', 'learning', 'ok'];
const COLUMNS: Column[] = ['series', 'status', 'value', 'score'];

/** What an address says about sorting: `score` is rising, `-score` falling; null if it says nothing that is known. */
export function readSorting(text: string | undefined): Sorting | null {
  const column = text?.replace(/^-/, '') as Column;
  return COLUMNS.includes(column) ? { column, falling: text!.startsWith('-') } : null;
}

/** What the address says after a click on a column: first the direction that matters most, then the other, then none. */
export function nextSorting(now: Sorting | null, column: Column): string | null {
  const numbers = column === 'value' || column === 'score';
  if (now?.column !== column) return numbers ? `-${column}` : column;
  if (now.falling === numbers) return numbers ? column : `-${column}`;
  return null;
}

/** The series in order; those without a value come last in either direction, and equal ones stay as they were. */
export function sorted(items: readonly SeriesItem[], sorting: Sorting | null): SeriesItem[] {
  if (!sorting) return [...items];
  const sign = sorting.falling ? -1 : 1;
  return [...items].sort((a, b) => {
    const [left, right] = [rank(a, sorting.column), rank(b, sorting.column)];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    return sign * (typeof left === 'string' ? left.localeCompare(right as string) : left - (right as number));
  });
}

function rank(one: SeriesItem, column: Column): string | number | null {
  switch (column) {
    case 'series': return one.name;
    case 'status': return STATUS.indexOf(one.status);
    case 'value': return one.value;
    case 'score': return one.score;
  }
}
