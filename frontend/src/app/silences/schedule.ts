import { OccurrenceItem, ScheduleItem, ScheduleRequest } from '../api/messages';

/** Days of the week as RFC 5545 writes them, and in words. */
export const DAYS = [['MO', 'Mon'], ['TU', 'Tue'], ['WE', 'Wed'], ['TH', 'Thu'], ['FR', 'Fri'], ['SA', 'Sat'], ['SU', 'Sun']] as const;
/** Which of them: what stands before a day, and in words. */
export const WHICH = [['', 'every week'], ['1', 'the first of a month'], ['2', 'the second of a month'], ['3', 'the third of a month'], ['4', 'the fourth of a month'], ['-1', 'the last of a month']] as const;
const ORDINALS: Record<string, string> = { '': '', '1': 'first ', '2': 'second ', '3': 'third ', '4': 'fourth ', '-1': 'last ' };

/** When a silence comes again, as the form holds it. */
export interface ScheduleDraft { days: string[]; which: string; start: string; end: string; zone: string; last: string }

export function emptySchedule(): ScheduleDraft {
  return { days: ['SU'], which: '', start: '22:00', end: '02:00', zone: Intl.DateTimeFormat().resolvedOptions().timeZone, last: '' };
}

/** The names of time zones that this browser knows. */
export function zones(): string[] {
  return Intl.supportedValuesOf('timeZone');
}

export function scheduleOf(draft: ScheduleDraft): ScheduleRequest {
  const days = DAYS.map(([day]) => day).filter((day) => draft.days.includes(day));
  if (!days.length) throw new Error('Choose a day at least.');
  return {
    time_zone: draft.zone.trim(), by_day: days.map((day) => draft.which + day), start_time: draft.start, end_time: draft.end,
    ...(draft.last ? { last_day: draft.last } : {}),
  };
}

/** A schedule in words: `Mon, Tue, 22:00 to 02:00, Europe/Berlin`. */
export function scheduleText(one: ScheduleItem): string {
  const days = one.by_day.map((day) => ORDINALS[day.slice(0, -2)] + (DAYS.find(([name]) => name === day.slice(-2))?.[1] ?? day));
  const told = one.by_day.length === DAYS.length && one.by_day.every((day) => day.length === 2) ? 'every day' : days.join(', ');
  return `${told}, ${one.start_time} to ${one.end_time}, ${one.time_zone}${one.last_day ? `, until ${one.last_day}` : ''}`;
}

/** An occurrence by the clocks of a zone, or of this browser where the zone is unknown here: `2026-11-29 22:00 to 02:00`. */
export function occurrenceText(one: OccurrenceItem, zone: string): string {
  const from = clocks(one.starts_at_ms, zone), to = clocks(one.ends_at_ms, zone);
  return `${from} to ${to.slice(11)}`;
}

function clocks(ms: number, zone: string): string {
  const parts = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
  const format = (timeZone?: string) => new Intl.DateTimeFormat('sv-SE', { ...parts, timeZone }).format(ms);
  try {
    return format(zone);
  } catch {
    return format();
  }
}
