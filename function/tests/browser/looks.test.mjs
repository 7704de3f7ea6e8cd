// How the page looks: fits every screen, passes axe in both schemes, and leaves screenshots to be
// looked at.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { open, startBrowser, startFunction, state } from './support.mjs';

const SCREENSHOTS = fileURLToPath(new URL('screenshots/', import.meta.url));
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENS = { wide: { width: 1440, height: 900 }, tablet: { width: 820, height: 1180 }, phone: { width: 375, height: 740 }, small: { width: 320, height: 640 } };
const SITUATIONS = {
  empty: async () => {},
  open: async (page) => { await page.click('[data-file="open.jpg"]'); await state(page, 'open'); },
  closed: async (page) => { await page.click('[data-file="closed-rolled.jpg"]'); await state(page, 'closed'); },
  'no-eyes': async (page) => { await page.click('[data-file="covered.jpg"]'); await state(page, 'no_eyes'); },
  error: async (page) => {
    await page.setInputFiles('#file', { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no image') });
    await state(page, 'error');
  },
  details: async (page) => {
    await page.click('[data-file="one-open.jpg"]');
    await state(page, 'open');
    for (const summary of await page.locator('summary').all()) await summary.click();
  },
  camera: async (page) => {
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelectorAll('#history i').length >= 3);
  },
};

let service;
let browser;

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  service = await startFunction();
  browser = await startBrowser('one-open.jpg');
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

async function violations(page) {
  // Evaluated by the debugger, which the page's content security policy does not bind.
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  return found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`);
}

for (const [situation, reach] of Object.entries(SITUATIONS)) {
  for (const [screen, viewport] of Object.entries(SCREENS)) {
    for (const colorScheme of screen === 'wide' || screen === 'phone' ? ['dark', 'light'] : ['dark']) {
      test(`${situation}, ${screen}, ${colorScheme}: nothing sticks out, axe finds nothing`, async () => {
        const { context, page, seen } = await open(browser, service.origin, { viewport, colorScheme, reducedMotion: 'reduce' });
        await reach(page);
        const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(needed <= given, `${needed} pixels wide on a screen of ${given}`);
        await page.screenshot({ path: `${SCREENSHOTS}${situation}-${screen}-${colorScheme}.png`, fullPage: true });
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(seen.complaints, []);
        await context.close();
      });
    }
  }
}
