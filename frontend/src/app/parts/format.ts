import { Labels } from '../api/messages';

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** A number with three or four significant digits and an SI prefix from ten thousand on; an en dash where there is none. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size > 0 && size < 1e-3) return value.toExponential(1);
  if (size < 9999.5) return String(Number(value.toPrecision(4)));
  let power = Math.floor(Math.log10(size) / 3);
  // 999 950 is a million, not a thousand thousands
  if (Number((size / 1000 ** power).toPrecision(3)) >= 1000) power += 1;
  return PREFIXES[power] ? `${Number((value / 1000 ** power).toPrecision(3))}${PREFIXES[power]}` : value.toExponential(2);
}

/** A range of values; one number where its edges read the same. */
export function range(lower: number | null | undefined, upper: number | null | undefined): string {
  const [low, high] = [compact(lower), compact(upper)];
  return low === high ? low : `${low} to ${high}`;
}

/** A count with a thin space between thousands: exact, unlike `compact`. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** A count and its noun: `1 alert`, `2 alerts`. */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** How long something lasted or ago it is, with its largest unit, and the next one from an hour on. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return joined(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'min');
  return joined(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h');
}

function joined(large: number, unit: string, small: number, next: string): string {
  return small ? `${large} ${unit} ${small} ${next}` : `${large} ${unit}`;
}

/** A moment in the reader's own time zone, as in a log: `2026-11-23 13:57:49`. */
export function moment(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return '–';
  const at = new Date(ms), two = (part: number) => String(part).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The reader's time zone, by name and distance from UTC at a moment: `Europe/Berlin, UTC+2`. */
export function zone(ms: number, name = Intl.DateTimeFormat().resolvedOptions().timeZone): string {
  const parts = new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'shortOffset' }).formatToParts(ms);
  const offset = (parts.find((part) => part.type === 'timeZoneName')?.value ?? 'GMT').replace('GMT', 'UTC');
  return name === 'UTC' || name === 'Etc/UTC' ? 'UTC' : `${name}, ${offset}`;
}

/** Labels without the metric name, as one line. */
export function labelLine(labels: Labels): string {
  return Object.entries(labels).filter(([name]) => name !== '__name__').map(([name, value]) => `${name}=${value}`).join('  ');
}
