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

test('the four autoscalers stand side by side, each number with how far it was from recorded runs', async () => {
  const page = await open();
  const names = await page.locator('#table tbody th').allTextContents();
  assert.deepEqual(names, ['KPA', 'HPA', 'HPA + VPA', 'KEDA']);
  assert.equal(await page.locator('#charts svg').count(), 4);
  const errors = JSON.parse(readFileSync(new URL('../../page/errors.json', import.meta.url)));
  const shown = /± ([\d.]+)$/.exec(await cell(page, 0, 0));
  assert.ok(Math.abs(Number(shown[1]) - errors.autoscalers.kpa.good_points) < 0.01, `${shown}`);
  assert.match(await cell(page, 3, 0), /± \?$/, 'no run of KEDA was recorded');
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

test('an address that cannot be read gives the defaults and says so', async () => {
  const page = await open('#%%%');
  assert.equal((await page.locator('#table tbody tr').count()), 4);
  assert.deepEqual(page.complaints, []);
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
  assert.match(yaml, /autoscaling\.knative\.dev\/window: 42000ms/);
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
  assert.ok((await page.locator('#found tbody tr').count()) >= 4);
  await and(page, () => page.locator('#found button').first().click());
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
