// Moments of requests from a CSV. Tests import this file by itself.

const DATE = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)([.,]\d+)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?$/i;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
// Units of times since 1970 by the least number that has them. A number of seconds of this size
// would be a date in the year 5138.
const UNITS = [[1e17, 1e9, 'nanoseconds since 1970'], [1e14, 1e6, 'microseconds since 1970'], [1e11, 1e3, 'milliseconds since 1970'], [-Infinity, 1, 'seconds']];

// Parses the time of a line: a number, or a date and time with any number of decimal places. A
// time without a zone is taken as UTC.
function moment(line, separator) {
  const first = (/^\s*"([^"]*)"/.exec(line)?.[1] ?? line.split(separator)[0]).trim();
  const date = DATE.exec(first);
  if (date) {
    const [, day, time, fraction = '', zone = 'Z'] = date;
    const offset = /^(z|utc)$/i.test(zone) ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`;
    return { date: true, value: Date.parse(`${day}T${time}${offset}`) / 1000 + Number(`0${fraction.replace(',', '.')}`) };
  }
  const plain = separator === ',' ? first : first.replace(',', '.');
  return { date: false, value: NUMBER.test(plain) ? Number(plain) : NaN };
}

// Times in the first column of a text, in seconds, and what was understood.
export function moments(text) {
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/).map((line, i) => ({ line, at: i + 1 })).filter(({ line }) => line.trim());
  const separator = [';', '\t'].find((s) => lines.slice(0, 2).some(({ line }) => line.includes(s))) ?? ',';
  const read = lines.map(({ line, at }) => ({ at, ...moment(line, separator) }));
  // The first line may be a heading.
  const unread = read.filter((m, i) => i > 0 && !Number.isFinite(m.value));
  const good = read.filter((m) => Number.isFinite(m.value));
  if (good.some((m) => m.date !== good[0].date)) throw new Error('Some times are dates and some are numbers.');
  const numbers = good.map((m) => m.value);
  const least = numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const [, divisor, unit] = good[0]?.date ? [0, 1, 'dates'] : UNITS.find(([from]) => least >= from);
  const lost = unread.length ? ` ${unread.length.toLocaleString('en')} lines could not be read and are left out; the first is line ${unread[0].at}.` : '';
  return { seconds: numbers.map((n) => n / divisor), said: `Times were read as ${unit}.${lost}` };
}
