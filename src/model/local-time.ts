/** Calendar of a time zone: which hour, day, ISO week and month a moment falls into, as texts that compare for equality. */
export class LocalTime {
  readonly #format: Intl.DateTimeFormat;

  /** Throws RangeError for a zone that does not exist. */
  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      timeZoneName: 'longOffset',
    });
  }

  /** The offset belongs to it: the hour that a clock shows twice in autumn is two hours. */
  hourOf(atMs: number): string {
    const { year, month, day, hour, offset } = this.#parts(atMs);
    return `${year}-${month}-${day}T${hour}${offset}`;
  }

  dayOf(atMs: number): string {
    const { year, month, day } = this.#parts(atMs);
    return `${year}-${month}-${day}`;
  }

  /** ISO 8601: weeks begin on Monday and belong to the year of their Thursday. */
  weekOf(atMs: number): string {
    const { year, month, day } = this.#parts(atMs);
    const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
    date.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7));
    const first = Date.UTC(date.getUTCFullYear(), 0, 1);
    const week = Math.ceil(((date.getTime() - first) / 86_400_000 + 1) / 7);
    return `${date.getUTCFullYear()}-W${week}`;
  }

  monthOf(atMs: number): string {
    const { year, month } = this.#parts(atMs);
    return `${year}-${month}`;
  }

  #parts(atMs: number): Record<'year' | 'month' | 'day' | 'hour' | 'offset', string> {
    const parts = new Map(this.#format.formatToParts(atMs).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? '';
    return {
      year: part('year'),
      month: part('month'),
      day: part('day'),
      hour: part('hour'),
      offset: part('timeZoneName'),
    };
  }
}
