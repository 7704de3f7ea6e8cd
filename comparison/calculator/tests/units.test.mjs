// Tests what the page's script does without a page: numbers, and the times of a CSV.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { moments } from '../page/src/csv.js';
import { duration, largest, short, ticks, timeTicks } from '../page/src/numbers.js';

const DAY = 86_400;

const CSVS = [
  ['seconds, one on each line', '1\n2.5\n4\n', [1, 2.5, 4], 'seconds'],
  ['a heading', 'time,size\n1,10\n2,20\n', [1, 2], 'seconds'],
  ['semicolons and decimal commas', 't;n\n0,30;5\n0,90;6\n2,30;7', [0.3, 0.9, 2.3], 'seconds'],
  ['tabs', '1\ta\n2\tb\n', [1, 2], 'seconds'],
  ['quotes', '"1,5";a\n"2,5";b\n', [1.5, 2.5], 'seconds'],
  ['a byte order mark, lines of Windows and an empty line', '\uFEFF1\r\n\r\n2\r\n', [1, 2], 'seconds'],
  ['exponents', '1e3\n2.5E3\n', [1000, 2500], 'seconds'],
  ['milliseconds', 'timestamp,n\n1700000000000,1\n1700000002500,1', [1700000000, 1700000002.5], 'milliseconds since 1970'],
  ['microseconds', '1700000000000000\n1700000000500000', [1700000000, 1700000000.5], 'microseconds since 1970'],
  ['nanoseconds', '1700000000000000000\n1700000001000000000', [1700000000, 1700000001], 'nanoseconds since 1970'],
];
for (const [name, text, seconds, unit] of CSVS) {
  test(`times of a CSV with ${name} are read`, () => {
    assert.deepEqual(moments(text), { seconds, said: `Times were read as ${unit}.` });
  });
}

test('a date has the zone that it names, and is UTC without one', () => {
  const ten = Date.UTC(2024, 4, 1, 10) / 1000;
  const dates = ['2024-05-01T12:00:00+02:00', '2024-05-01T10:00:30Z', '2024-05-01 05:01:00-0500', '2024-05-01 11:02+01', '2024-05-01 10:03:00'];
  const { seconds, said } = moments(dates.join('\n'));
  assert.deepEqual(seconds, [0, 30, 60, 120, 180].map((after) => ten + after));
  assert.equal(said, 'Times were read as dates.');
});

test('a date may have any number of decimal places', () => {
  const [first, second] = moments('2023-11-16 18:10:00.1234567;1\n2023-11-16 18:10:01,5;1').seconds;
  const whole = Date.UTC(2023, 10, 16, 18, 10) / 1000;
  // Seconds since 1970 are doubles with steps of a quarter of a microsecond.
  assert.ok(Math.abs(first - whole - 0.1234567) < 1e-6, `${first}`);
  assert.equal(second, whole + 1.5);
});

test('lines without a time are counted, and the first of them is named', () => {
  const { seconds, said } = moments('time\n1\n?\n2\nnothing\n5\n');
  assert.deepEqual(seconds, [1, 2, 5]);
  assert.equal(said, 'Times were read as seconds. 2 lines could not be read and are left out; the first is line 3.');
});

test('dates and numbers in one file are refused', () => {
  assert.throws(() => moments('1\n2024-05-01T10:00:00Z\n'), /Some times are dates and some are numbers/);
});

test('a text without any time has none', () => {
  assert.deepEqual(moments('').seconds, []);
  assert.deepEqual(moments('time\n').seconds, []);
});

test('the lines of a chart are at round values from 0 to the largest', () => {
  assert.deepEqual(ticks(10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(100, 3), [0, 50, 100]);
  assert.deepEqual(ticks(1).map(short), ['0', '0.2', '0.4', '0.6', '0.8', '1']);
  for (const most of [1e-9, 0.003, 1, 7, 42, 999, 123_456]) {
    const values = ticks(most);
    assert.equal(values[0], 0);
    assert.ok(values.length >= 3 && values.length <= 8, `${most}: ${values}`);
    assert.ok(values.at(-1) <= most * (1 + 1e-9), `${most}: ${values}`);
  }
});

test('the times of a chart are round in seconds, minutes, hours and days', () => {
  assert.deepEqual(timeTicks(2), [0, 0.5, 1, 1.5, 2]);
  assert.deepEqual(timeTicks(600), [0, 300, 600]);
  assert.deepEqual(timeTicks(3 * 3600), [0, 3600, 7200, 10_800]);
  assert.deepEqual(timeTicks(30 * DAY), [0, 10 * DAY, 20 * DAY, 30 * DAY]);
});

test('a duration has the unit that makes it a small number', () => {
  const shown = [0.5, 60, 119, 120, 298.98, 7199, 7200, 2 * DAY].map(duration);
  assert.deepEqual(shown, ['0.5 s', '60 s', '119 s', '2 min', '4.98 min', '120 min', '2 h', '2 d']);
});

test('a number has three digits, or all of its thousands', () => {
  const shown = [0, -0.5, 0.12345, 12.34, 123.4, 1234.4, 1_500_000, null, undefined].map(short);
  assert.deepEqual(shown, ['0', '-0.5', '0.123', '12.3', '123', '1,234', '1.50 M', '–', '–']);
});

test('the largest of very many values is found, and nothing counts as 0', () => {
  assert.equal(largest(Array.from({ length: 300_000 }, (_, i) => i), 1), 299_999);
  assert.equal(largest([1, null, 3, undefined], 0), 3);
  assert.equal(largest([], 1), 1);
});
