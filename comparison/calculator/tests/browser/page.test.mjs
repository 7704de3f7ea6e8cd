// Tests the calculator in Chromium, opened as a file without a server.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { chromium } from 'playwright-core';

const FILE = process.env.CALCULATOR || fileURLToPath(new URL('../../../../target/calculator/index.html', import.meta.url));
const PAGE = pathToFileURL(FILE).href;
const AXE = createRequire(import.meta.url).resolve('axe-core');
// Files that the page exported, for ../test_exported.py.
const EXPORTS = process.env.EXPORTS || fileURLToPath(new URL('exports/', pathToFileURL(FILE)));
// The timeout fails a test that hangs, and is long enough for a busy machine.
const PATIENCE_MS = 90_000;

let browser;
before(async () => {
  const known = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const executablePath = known.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error('no Chromium: apt-get install chromium, or set CHROMIUM=/path/to/it');
  if (!existsSync(FILE)) throw new Error(`no page at ${FILE}: make calculator`);
  browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
});
after(() => browser?.close());

async function open(hash = '', options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.complaints = [];
  page.requests = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') page.complaints.push(message.text()); });
  page.on('request', (request) => page.requests.push(request.url()));
  await page.goto(PAGE + hash);
  await simulated(page);
  return page;
}

const simulated = (page) => page.waitForFunction(() => document.body.dataset.done && /requests through each/.test(document.querySelector('#status').textContent));
const cell = async (page, row, column) => (await page.locator('#table tbody tr').nth(row).locator('td').nth(column).textContent()).trim();

/** Runs an action and waits for the simulation that it starts. */
async function and(page, action) {
  const before = await page.evaluate(() => document.body.dataset.done);
  await action();
  await page.waitForFunction((done) => document.body.dataset.done !== done, before);
}

test('it makes no request and logs no error', async () => {
  const page = await open();
  assert.deepEqual(page.requests.filter((url) => !/^(file|blob|data):/.test(url)), []);
  assert.deepEqual(page.complaints, []);
  assert.ok(readFileSync(FILE).length <= 1_000_000);
  await page.context().close();
});

test('the five autoscalers stand side by side, each number with how far it was from recorded runs', async () => {
  const page = await open();
  const names = await page.locator('#table tbody th').allTextContents();
  assert.deepEqual(names, ['KPA', 'HPA', 'HPA + VPA', 'KEDA', 'HPA to zero']);
  assert.equal(await page.locator('#charts svg').count(), 4);
  const errors = JSON.parse(readFileSync(new URL('../../page/errors.json', import.meta.url)));
  const shown = /± ([\d.]+)$/.exec(await cell(page, 0, 0));
  assert.ok(Math.abs(Number(shown[1]) - errors.autoscalers.kpa.good_points) < 0.01, `${shown}`);
  for (const row of [3, 4]) assert.match(await cell(page, row, 0), /± \?$/, 'no run of it was recorded');
  await page.context().close();
});

test('a setting changes the result, stands in the address and comes back from it', async () => {
  const page = await open();
  const field = (p) => p.locator('[data-setting="kpa/min-scale"]');
  await page.locator('#arms summary').first().click();
  const started = await cell(page, 0, 5);
  await and(page, async () => { await field(page).fill('6'); await field(page).press('Tab'); });
  assert.notEqual(await cell(page, 0, 5), started);
  const again = await open(new URL(page.url()).hash);
  assert.equal(await field(again).inputValue(), '6');
  for (const column of [0, 3, 6]) assert.equal(await cell(again, 0, column), await cell(page, 0, column));
  await page.context().close();
  await again.context().close();
});

const says = (page, pattern) => page.waitForFunction(([source]) => new RegExp(source).test(document.querySelector('#status').textContent), [pattern.source]);
const packed = (value) => `#${Buffer.from(JSON.stringify(value)).toString('base64url')}`;
const opened = (page) => page.evaluate(() => document.querySelectorAll('#arms details').forEach((d) => { d.open = true; }));
const set = async (page, setting, value) => { const field = page.locator(`[data-setting="${setting}"]`); await field.fill(value); await field.press('Tab'); };

test('an address that was cut or is none gives the defaults, and says so until the next edit', async () => {
  const whole = packed({ s: 'sleep', k: 5, t: 1, e: 1, v: { kpa: { window: 42 } } });
  for (const hash of ['#%%%', whole.slice(0, -9), packed(7), packed({ s: 'nowhere' }), packed({ v: { kpa: { window: '42' } } }), packed({ v: { kpa: { windw: 42 } } })]) {
    const page = await open(hash);
    assert.equal((await page.locator('#table tbody tr').count()), 5);
    assert.match(await page.locator('#notice').textContent(), /default/, hash);
    assert.ok(await page.locator('#notice').isVisible());
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
});

test('what a changed address does not have is at its default again', async () => {
  const page = await open(packed({ s: 'draw a curve', k: 9, e: 4, p: [[0, 3], [60, 3]], v: { kpa: { window: 42 } } }));
  assert.equal(await page.locator('#seed').inputValue(), '4');
  await and(page, () => page.evaluate((hash) => { location.hash = hash; }, packed({ v: { hpa: { maxReplicas: 6 } } })));
  assert.deepEqual(await page.evaluate(() => ['shape', 'scale', 'seed'].map((id) => document.getElementById(id).value)), ['spike', '5', '1']);
  assert.equal(await page.locator('[data-setting="kpa/window"]').inputValue(), '60');
  await page.context().close();
});

test('the YAML and the search of earlier settings are not taken for those of a changed address', async () => {
  const page = await open();
  await page.locator('#frontier-button').click();
  await page.waitForFunction(() => document.body.dataset.searched);
  assert.ok(await page.locator('#frontier-old').isHidden());
  await page.locator('#export-button').click();
  await page.waitForFunction(() => document.querySelector('#export pre'));
  await and(page, () => page.evaluate((hash) => { location.hash = hash; }, packed({ v: { kpa: { window: 42 } } })));
  assert.equal(await page.locator('#export pre').count(), 0);
  assert.ok(await page.locator('#frontier-old').isVisible());
  await page.context().close();
});

test('YAML of settings that changed before it was there is not shown', async () => {
  const page = await open();
  await and(page, () => page.evaluate(() => {
    document.querySelector('#export-button').click();
    const field = document.querySelector('[data-setting="kpa/window"]');
    field.value = '42';
    field.dispatchEvent(new Event('change'));
  }));
  assert.equal(await page.locator('#export pre').count(), 0);
  await page.context().close();
});

test('the address of a CSV asks for the file', async () => {
  const page = await open();
  await page.goto('about:blank');
  await page.goto(PAGE + packed({ s: 'a CSV of requests' }));
  await says(page, /Choose a CSV file/);
  assert.match(await page.locator('#notice').textContent(), /Choose the file again/);
  assert.equal(await page.locator('#shape').inputValue(), 'a CSV of requests');
  assert.equal(await page.locator('#table tbody tr').count(), 0);
  await page.context().close();
});

test('an invalid value is named and neither simulated nor exported', async () => {
  const page = await open();
  await opened(page);
  for (const [setting, value, pattern] of [['hpa/minReplicas', '20', /HPA, minReplicas: minReplicas 20 is above maxReplicas 10/], ['hpa/minReplicas', '1.5', /HPA, minReplicas: /], ['hpa/minReplicas', '', /HPA, minReplicas: /], ['kpa/window', '1', /KPA, window: /], ['kpa/window', '6.5', /KPA, window: /], ['kpa/target-burst-capacity', '-0.5', /KPA, target-burst-capacity: -0.5 is neither -1 nor at least 0/]]) {
    await set(page, setting, value);
    await says(page, pattern);
    assert.equal(await page.locator('#table tbody tr').count(), 0, 'no result of other settings');
    await page.locator('#export-button').click();
    assert.equal(await page.locator('#export pre').count(), 0);
    assert.match(await page.locator('#export').textContent(), pattern);
    await and(page, () => set(page, setting, { 'hpa/minReplicas': '1', 'kpa/window': '60', 'kpa/target-burst-capacity': '211' }[setting]));
    assert.equal(await page.locator('#table tbody tr').count(), 5);
  }
  await page.context().close();
});

test('an invalid field in a closed section is opened and focused', async () => {
  const page = await open();
  await opened(page);
  await set(page, 'keda/pollingInterval', '');
  await page.evaluate(() => document.querySelectorAll('#arms details').forEach((d) => { d.open = false; }));
  await page.locator('#run').click();
  assert.equal(await page.evaluate(() => document.activeElement.dataset.setting), 'keda/pollingInterval');
  assert.ok(await page.locator('[data-setting="keda/pollingInterval"]').isVisible());
  await page.context().close();
});

test('after an error there are no results of earlier settings', async () => {
  const page = await open();
  await page.locator('#shape').selectOption('a CSV of requests');
  await says(page, /Choose a CSV file/);
  assert.deepEqual(await page.evaluate(() => [document.querySelectorAll('#table tr').length, document.querySelectorAll('#charts svg').length]), [0, 0]);
  await page.context().close();
});

test('a load that would not end soon is refused, and an edit ends what runs', async () => {
  const page = await open();
  await page.locator('#scale').fill('200000');
  await page.locator('#scale').press('Tab');
  await says(page, /million requests are too many for a page: at most 100 million/);
  await page.locator('#shape').selectOption('draw a curve');
  await page.locator('#points').fill('0 1000\n80000 1000');
  await page.locator('#points').press('Tab');
  await says(page, /Simulating/);
  const began = Date.now();
  await and(page, async () => { await page.locator('#points').fill('0 1\n60 1'); await page.locator('#points').press('Tab'); });
  assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`);
  await page.context().close();
});

test('a curve of very many points and a load without requests are shown', async () => {
  const page = await open();
  await and(page, () => page.locator('#shape').selectOption('draw a curve'));
  const points = Array.from({ length: 130_000 }, (_, i) => `${i / 100} 1`).join('\n');
  await and(page, async () => { await page.evaluate((text) => { const field = document.querySelector('#points'); field.value = text; field.dispatchEvent(new Event('change')); }, points); });
  assert.deepEqual(page.complaints, []);
  assert.ok(page.url().length < 40_000);
  await and(page, async () => { await page.locator('#points').fill('0 0\n60 0'); await page.locator('#points').press('Tab'); });
  assert.equal(await cell(page, 0, 0), '–');
  await page.context().close();
});

const CSVS = [
  ['a decimal comma', 't;n\n0,30;5\n0,90;6\n2,30;7', /3 requests in 2 s.* read as seconds/],
  ['milliseconds', 'timestamp,n\n1700000000000,1\n1700000002500,1', /2 requests in 2.5 s.*milliseconds since 1970/],
  ['zones', '2024-05-01T12:00:00+02:00\n2024-05-01T10:00:30Z\n2024-05-01 05:01:00-0500', /3 requests in 60 s.*dates/],
  ['lines that cannot be read', 'time\n1\n?\n2\nnothing\n5\n', /3 requests in 4 s.* 2 lines could not be read.*line 3/],
];
for (const [name, text, pattern] of CSVS) {
  test(`a CSV with ${name} is understood, and it says how`, async () => {
    const page = await open();
    await page.locator('#shape').selectOption('a CSV of requests');
    await says(page, /Choose a CSV file/);
    await and(page, () => page.locator('#file').setInputFiles({ name: 'load.csv', mimeType: 'text/csv', buffer: Buffer.from(text) }));
    assert.match(await page.locator('#trace-text').textContent(), pattern);
    await page.context().close();
  });
}

test('an import that is refused says why, and one that is taken says what to check', async () => {
  const page = await open();
  await page.locator('summary', { hasText: 'Import' }).click();
  const hpa = (metric) => `apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  maxReplicas: 7\n  metrics: [${metric}]`;
  const taken = async (yaml, pattern) => {
    await page.locator('#import').fill(yaml);
    await page.locator('#import-button').click();
    await page.waitForFunction(([source]) => new RegExp(source).test(document.querySelector('#import-said').textContent), [pattern.source]);
  };
  await taken(hpa('{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}'), /type "Resource".*requests in flight/);
  await and(page, () => taken(hpa('{type: Pods, pods: {metric: {name: in_flight}, target: {type: AverageValue, averageValue: set-by-replacement}}}'), /Applied.*averageValue is set elsewhere: check it/));
  assert.equal(await page.locator('[data-setting="hpa/maxReplicas"]').inputValue(), '7');
  await page.context().close();
});

test('settings and exports fit a narrow phone', async () => {
  const page = await open('', { viewport: { width: 320, height: 640 } });
  await opened(page);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('#arms label')].filter((l) => l.scrollWidth > l.clientWidth).length), 0);
  for (const kind of ['kpa', 'keda']) {
    await page.locator('#export-kind').selectOption(kind);
    await page.locator('#export-button').click();
    await page.waitForFunction(() => document.querySelector('#export pre'));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  }
  await page.context().close();
});

test('what is exported is imported again', async () => {
  const page = await open();
  await page.locator('#arms summary').first().click();
  const field = page.locator('[data-setting="kpa/window"]');
  await and(page, async () => { await field.fill('42'); await field.press('Tab'); });
  await page.locator('#export-kind').selectOption('kpa');
  await page.locator('#export-button').click();
  const yaml = await page.locator('pre[data-path^="knative/components"]').textContent();
  assert.match(yaml, /autoscaling\.knative\.dev\/window: 42s/);
  await and(page, async () => { await field.fill('60'); await field.press('Tab'); });
  await page.locator('summary', { hasText: 'Import' }).click();
  await page.locator('#import').fill(yaml);
  await and(page, () => page.locator('#import-button').click());
  assert.equal(await field.inputValue(), '42');
  await page.locator('#import').fill('kind: ConfigMap');
  await page.locator('#import-button').click();
  await page.waitForFunction(() => /no Knative Service/.test(document.querySelector('#import-said').textContent));
  await page.context().close();
});

const EDITS = {
  kpa: { target: 3, window: 42, 'min-scale': 2, 'target-burst-capacity': 0, 'scale-down-delay': 17, 'max-scale': 7 },
  hpa: { averageValue: 2.5, minReplicas: 2, maxReplicas: 7, 'scaleUp.Pods': 3, 'scaleUp.tolerance': 0.05, 'scaleDown.stabilizationWindowSeconds': 90 },
  'hpa-vpa': { averageValue: 2, maxReplicas: 8, 'scaleDown.Percent': 0, 'minAllowed.cpu': 300, 'maxAllowed.cpu': 900 },
  keda: { threshold: 2, activationThreshold: 0.5, minReplicaCount: 1, pollingInterval: 11, cooldownPeriod: 77, 'scaleDown.Pods': 2 },
  'hpa-zero': { averageValue: 0.5, maxReplicas: 7, 'scaleDown.stabilizationWindowSeconds': 60 },
};

for (const [kind, edits] of Object.entries(EDITS)) {
  test(`settings that were simulated are exported: ${kind}`, async () => {
    const page = await open();
    await page.evaluate(() => document.querySelectorAll('#arms details').forEach((d) => { d.open = true; }));
    for (const [name, value] of Object.entries(edits)) {
      const field = page.locator(`[data-setting="${kind}/${name}"]`);
      await and(page, async () => { await field.fill(String(value)); await field.press('Tab'); });
    }
    const values = await page.evaluate((own) => Object.fromEntries([...document.querySelectorAll(`[data-setting^="${own}/"]`)]
      .map((input) => [input.dataset.setting.slice(own.length + 1), Number(input.value)])), kind);
    for (const [name, value] of Object.entries(edits)) assert.equal(values[name], value);
    await page.locator('#export-kind').selectOption(kind);
    await page.locator('#export-button').click();
    await page.waitForFunction(() => document.querySelector('#export pre'));
    const files = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll('#export pre')].map((pre) => [pre.dataset.path, pre.textContent])));
    assert.ok(Object.keys(files).length >= 2);
    mkdirSync(EXPORTS, { recursive: true });
    writeFileSync(`${EXPORTS}/${kind}.json`, JSON.stringify({ kind, values, files }, null, 1));
    await page.context().close();
  });
}

test('only what belongs to the chosen load is shown', async () => {
  const page = await open();
  const shown = () => page.evaluate(() => ['scale', 'points', 'file'].filter((id) => document.getElementById(id).checkVisibility()));
  assert.deepEqual(await shown(), ['scale']);
  await and(page, () => page.locator('#shape').selectOption('draw a curve'));
  assert.deepEqual(await shown(), ['points']);
  await page.locator('#shape').selectOption('a CSV of requests');
  assert.deepEqual(await shown(), ['file']);
  await page.context().close();
});

test('a curve is drawn with the keyboard, and a CSV of moments is a load', async () => {
  const page = await open();
  await and(page, () => page.locator('#shape').selectOption('draw a curve'));
  const point = page.locator('#curve [data-point="2"]');
  await point.focus();
  const before = await page.locator('#points').inputValue();
  await and(page, () => page.keyboard.press('ArrowUp'));
  assert.notEqual(await page.locator('#points').inputValue(), before);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.point), '2', 'the point keeps the focus');
  await page.locator('#shape').selectOption('a CSV of requests');
  const rows = ['TIMESTAMP,Tokens', ...Array.from({ length: 300 }, (_, i) => `2023-11-16 18:${String(10 + Math.floor(i / 60)).padStart(2, '0')}:${String(i % 60).padStart(2, '0')}.1234567,${i}`)];
  await and(page, () => page.locator('#file').setInputFiles({ name: 'trace.csv', mimeType: 'text/csv', buffer: Buffer.from(rows.join('\n')) }));
  assert.match(await page.locator('#trace-text').textContent(), /300 requests in 4.98 min/);
  assert.match(await page.locator('#status').textContent(), /^300 requests/);
  await page.context().close();
});

test('a search draws a frontier for each autoscaler, and a found setting can be taken', async () => {
  const page = await open();
  await page.locator('#frontier-button').click();
  await page.waitForFunction(() => document.body.dataset.searched);
  assert.ok((await page.locator('#found tbody tr').count()) >= 5);
  await and(page, () => page.locator('#found button').first().click());
  await page.context().close();
});

test('a search in the place of a simulation is followed by the simulation', async () => {
  const page = await open();
  const started = await cell(page, 0, 5);
  await and(page, () => page.evaluate(() => {
    const field = document.querySelector('[data-setting="kpa/min-scale"]');
    field.value = '6';
    field.dispatchEvent(new Event('change'));
    document.querySelector('#frontier-button').click();
  }));
  assert.ok((await page.locator('#found tbody tr').count()) >= 5, 'the search was not ended');
  assert.notEqual(await cell(page, 0, 5), started);
  assert.equal(await page.locator('#results').getAttribute('aria-busy'), 'false');
  assert.equal(await page.evaluate(() => document.querySelector('#results').classList.contains('old')), false);
  await page.context().close();
});

for (const [name, options] of [['wide', {}], ['phone', { viewport: { width: 360, height: 740 } }], ['dark', { colorScheme: 'dark' }]]) {
  test(`nothing is cut off or hard to read or reach: ${name}`, async () => {
    const page = await open('', options);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wider, 0, 'no sideways scrolling');
    await page.addScriptTag({ path: AXE }).catch(() => page.evaluate(readFileSync(AXE, 'utf8')));
    const { violations } = await page.evaluate(() => axe.run());
    assert.deepEqual(violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 200))]), []);
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/calculator-${name}.png`, fullPage: true });
    await page.context().close();
  });
}
