// Numbers as the page shows them. Tests import this file by itself.

export const largest = (values, least) => values.reduce((most, value) => Math.max(most, value ?? 0), least);

// Steps between the lines of a chart: round numbers, and round times in seconds.
const STEPS = [1, 2, 5, 10];
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

// The step that is nearest by its ratio.
const nearest = (steps, step) => steps.reduce((a, b) => (Math.abs(Math.log(b / step)) < Math.abs(Math.log(a / step)) ? b : a));

// Round values from 0 to at most `most`, about `wanted` of them behind 0.
export function ticks(most, wanted = 4) {
  const power = 10 ** Math.floor(Math.log10(most / wanted));
  return multiples(power * nearest(STEPS, most / wanted / power), most);
}

export function timeTicks(longest, wanted = 3) {
  if (longest < wanted) return ticks(longest, wanted);
  const day = TIME_STEPS.at(-1);
  return longest > wanted * day ? ticks(longest / day, wanted).map((d) => d * day) : multiples(nearest(TIME_STEPS, longest / wanted), longest);
}

function multiples(step, most) {
  return Array.from({ length: Math.floor((most / step) * (1 + 1e-9)) + 1 }, (_, i) => i * step);
}

export function short(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size >= 100) return value.toFixed(0);
  return Number(value.toPrecision(3)).toString();
}

export function duration(s) {
  if (s >= 172800) return `${short(s / 86400)} d`;
  if (s >= 7200) return `${short(s / 3600)} h`;
  return s >= 120 ? `${short(s / 60)} min` : `${short(s)} s`;
}
