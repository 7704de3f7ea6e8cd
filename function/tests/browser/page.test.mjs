// The page in a real browser against the real function: what it shows, how it is operated, what it
// asks for.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { drawn, open, overlap, samplePath, samples, startBrowser, startFunction, state } from './support.mjs';

let service;
let browser;
const opened = [];

before(async () => {
  service = await startFunction();
  browser = await startBrowser('open.jpg');
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

async function visit(options) {
  const visited = await open(browser, service.origin, options);
  opened.push(visited);
  return visited;
}

// In every test, the page logs no error and sends requests to its own origin only.
afterEach(async () => {
  for (const { context, seen } of opened.splice(0)) {
    await context.close();
    assert.deepEqual(seen.complaints, []);
    const foreign = seen.requests.filter((url) => !url.startsWith(service.origin) && !/^(blob|data):/.test(url));
    assert.deepEqual(foreign, []);
  }
});

/** Drops a file on the page as the browser would. */
async function drop(page, path, name, type) {
  const bytes = [...await readFile(path)];
  const transfer = await page.evaluateHandle(([content, called, kind]) => {
    const made = new DataTransfer();
    made.items.add(new File([new Uint8Array(content)], called, { type: kind }));
    return made;
  }, [bytes, name, type]);
  await page.dispatchEvent('#stage', 'dragover', { dataTransfer: transfer });
  await page.dispatchEvent('#stage', 'drop', { dataTransfer: transfer });
}

for (const sample of samples) {
  test(`sample ${sample.file} is ${sample.state}, its boxes over its eyes`, async () => {
    const { page } = await visit();
    await page.click(`#samples button[data-file="${sample.file}"]`);
    await state(page, sample.state);
    const boxes = await drawn(page);
    for (const eye of sample.eyes) {
      const best = Math.max(0, ...boxes.filter((box) => box.state === eye.state).map((box) => overlap(box, eye.box)));
      assert.ok(best > 0.5, `${eye.state} eye at ${JSON.stringify(eye.box)}: ${JSON.stringify(boxes)}`);
    }
    assert.equal(await page.locator('#eyes li.open, #eyes li.closed').count(), boxes.length);
  });
}

test('boxes lie over the picture as it is fitted on the screen', async () => {
  const sample = samples.find(({ width, height, eyes }) => width < height && eyes.length);
  for (const viewport of [{ width: 1280, height: 900 }, { width: 375, height: 740 }]) {
    const { page } = await visit({ viewport });
    await page.click(`#samples button[data-file="${sample.file}"]`);
    await state(page, sample.state);
    const [box] = await drawn(page);
    const [picture, onScreen] = await page.evaluate(() => [
      document.querySelector('#picture').getBoundingClientRect().toJSON(),
      document.querySelector('#boxes rect.rim').getBoundingClientRect().toJSON(),
    ]);
    const scale = Math.min(picture.width / sample.width, picture.height / sample.height);
    const left = picture.x + (picture.width - scale * sample.width) / 2 + scale * box.x;
    const top = picture.y + (picture.height - scale * sample.height) / 2 + scale * box.y;
    // The line's own width may count in a bounding box.
    assert.ok(Math.abs(onScreen.x - left) < 4 && Math.abs(onScreen.y - top) < 4, JSON.stringify({ onScreen, left, top }));
    assert.ok(Math.abs(onScreen.width - scale * box.width) < 7);
  }
});

test('a chosen file, a dropped one and a pasted one are answered', async () => {
  const { page, seen } = await visit();
  await page.setInputFiles('#file', samplePath('closed.jpg'));
  await state(page, 'closed');
  await drop(page, samplePath('open.jpg'), 'open.jpg', 'image/jpeg');
  await state(page, 'open');
  await page.evaluate(async () => {
    const blob = await (await fetch('samples/closed.jpg')).blob();
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([blob], 'image.jpg', { type: blob.type }));
    document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));
  });
  await state(page, 'closed');
  assert.deepEqual(seen.asked.map((request) => request.headers()['content-type']), Array(3).fill('image/jpeg'));
});

test('timings add up to what the answer says', async () => {
  const { page } = await visit();
  await page.click('#samples button');
  await state(page, samples[0].state);
  const answer = JSON.parse(await page.textContent('#json'));
  const shown = await page.locator('#timings dd').allTextContents();
  const stages = ['decode', 'preprocess', 'inference', 'postprocess'];
  stages.forEach((stage, i) => assert.ok(Math.abs(parseFloat(shown[i]) - answer.timing_ms[stage]) < 0.06, `${stage}: ${shown[i]}`));
  const total = shown.slice(0, 5).reduce((sum, text) => sum + parseFloat(text), 0);
  assert.ok(Math.abs(total - parseFloat(shown[5])) < 0.3, shown.join());
});

test('a picture that the browser cannot show comes back drawn', async () => {
  const { page } = await visit();
  const graymap = await page.evaluate(async () => {
    const bitmap = await createImageBitmap(await (await fetch('samples/open.jpg')).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const head = new TextEncoder().encode(`P5\n${bitmap.width} ${bitmap.height}\n255\n`);
    return [...head, ...data.filter((_, i) => i % 4 === 0)];
  });
  await page.setInputFiles('#file', { name: 'face.pgm', mimeType: '', buffer: Buffer.from(graymap) });
  await state(page, 'open');
  await page.waitForFunction(() => document.querySelector('#picture').naturalWidth > 0);
  assert.equal(await page.evaluate(() => document.querySelector('#picture').naturalWidth), samples[0].width);
  assert.deepEqual(await drawn(page), [], 'the boxes are in the picture already');
});

test('the camera is watched one frame at a time until it is stopped', async () => {
  const { page, seen } = await visit();
  await page.click('#camera');
  await state(page, 'open');
  await page.waitForFunction(() => document.querySelectorAll('#history i').length >= 5);
  assert.equal(await page.textContent('#camera'), 'Stop camera');
  assert.ok((await drawn(page)).some((box) => box.state === 'open'));
  assert.equal(seen.most, 1);
  await page.click('#camera');
  await sleep(300);
  const asked = seen.asked.length;
  await sleep(700);
  assert.equal(seen.asked.length, asked, 'no frame leaves after the stop');
  assert.equal(await page.evaluate(() => document.querySelector('#video').srcObject), null);
});

test('a busy function makes the camera wait as long as it was told', async () => {
  const { page } = await visit();
  const asked = [];
  await page.route('**/classify', async (route) => {
    asked.push(Date.now());
    if (asked.length > 1) return route.continue();
    return route.fulfill({
      status: 429,
      headers: { 'retry-after': '2', 'content-type': 'application/problem+json' },
      body: JSON.stringify({ type: 'urn:example:busy', title: 'Too busy', status: 429, detail: 'all places are taken' }),
    });
  });
  await page.click('#camera');
  await page.locator('#problem').waitFor();
  assert.equal(await page.textContent('#problem-title'), 'Too busy');
  assert.equal(await page.textContent('#problem-detail'), 'all places are taken');
  assert.match(await page.textContent('#problem-retry'), /Next try in [12] s/);
  await state(page, 'open');
  assert.ok(asked[1] - asked[0] >= 2000, `asked again after ${asked[1] - asked[0]} ms`);
  assert.equal(await page.locator('#problem').isVisible(), false);
});

test('what is not an image is refused in the function\'s own words', async () => {
  const { page } = await visit();
  await page.setInputFiles('#file', { name: 'face.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('this is not a face') });
  await state(page, 'error');
  const direct = await fetch(`${service.origin}/classify`, { method: 'POST', body: 'this is not a face', headers: { 'content-type': 'image/jpeg' } });
  const problem = await direct.json();
  assert.equal(direct.status, 400);
  assert.equal(await page.textContent('#problem-title'), problem.title);
  assert.equal(await page.textContent('#problem-detail'), problem.detail);
  assert.equal(await page.locator('#problem-retry').isVisible(), false);
  await page.click('#samples button');
  await state(page, samples[0].state);
  assert.equal(await page.locator('#problem').isVisible(), false, 'an answer takes the error away');
});

test('a function that is gone is said so', async () => {
  const { page, seen } = await visit();
  await page.route('**/classify', (route) => route.abort('connectionrefused'));
  await page.setInputFiles('#file', samplePath('open.jpg'));
  await state(page, 'error');
  assert.match(await page.textContent('#problem-title'), /cannot be reached/);
  seen.complaints.splice(0); // the browser's own report of the refused connection
});

test('thresholds go along and change the answer', async () => {
  const { page, seen } = await visit();
  await page.click('#samples button[data-file="open.jpg"]');
  await state(page, 'open');
  assert.ok(!seen.asked[0].url().includes('?'), 'untouched sliders leave the function its own thresholds');
  await page.click('summary:has-text("Thresholds")');
  await page.focus('#confidence');
  await page.keyboard.press('End');
  await state(page, 'no_eyes');
  assert.match(seen.asked.at(-1).url(), /\?confidence_threshold=1\.00$/);
  assert.match(await page.textContent('#badge-detail'), /nothing above the threshold/);
  await page.focus('#iou');
  await page.keyboard.press('ArrowRight');
  await page.waitForRequest(/confidence_threshold=1\.00&iou_threshold=0\.50/);
  await page.click('#defaults');
  await state(page, 'open');
  assert.ok(!seen.asked.at(-1).url().includes('?'));
});

test('everything can be done with the keyboard, and the focus is seen', async () => {
  const { page } = await visit();
  const reached = [];
  for (let i = 0; i < 9; i++) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(() => {
      const at = document.activeElement;
      const ring = at.id === 'file' ? at.nextElementSibling : at;
      return { what: at.id || at.dataset.file || at.textContent.trim(), outline: parseFloat(getComputedStyle(ring).outlineWidth) };
    }));
    if (reached.at(-1).what === 'one-open.jpg') break;
  }
  assert.ok(reached.every(({ outline }) => outline >= 2), JSON.stringify(reached));
  const names = reached.map(({ what }) => what);
  assert.deepEqual(names, ['file', 'camera', 'Thresholds', 'The answer as JSON', 'open.jpg', 'closed.jpg', 'one-open.jpg']);
  await page.keyboard.press('Enter');
  await state(page, 'open');
  assert.match(await page.textContent('[role="status"]'), /Eyes open, confidence \d/);
  await page.focus('#camera');
  await page.keyboard.press('Space');
  await page.waitForFunction(() => document.querySelectorAll('#history i').length >= 1);
  await page.keyboard.press('Space');
  assert.equal(await page.getAttribute('#camera', 'aria-pressed'), 'false');
});

test('who prefers no motion gets none', async () => {
  const { page } = await visit({ reducedMotion: 'reduce' });
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('#camera')).transitionDuration), '0s');
});
