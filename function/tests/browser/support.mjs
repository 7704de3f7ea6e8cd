// What the browser tests stand on: the real function on a free port, and a real Chromium that talks
// to it only.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SAMPLES = join(ROOT, 'function/samples');
const BINARY = process.env.EYE_STATE_BIN || join(ROOT, 'target/release/eye-state');
const READY_WITHIN_MS = 60_000;
// A test that hangs fails; one on a machine with much else to do does not.
const PATIENCE_MS = 90_000;
// Nothing phones home: what leaves the origin in a test was the page's doing.
const QUIET = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export const samples = JSON.parse(await readFile(join(SAMPLES, 'samples.json')));
export const samplePath = (file) => join(SAMPLES, file);

function browserPath() {
  const known = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = known.find((path) => path && existsSync(path));
  if (!found) throw new Error('no Chromium: apt-get install chromium, or set CHROMIUM=/path/to/it');
  return found;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts the function; resolves when it is ready. */
export async function startFunction() {
  if (!existsSync(BINARY)) throw new Error(`no function at ${BINARY}: make build, or set EYE_STATE_BIN`);
  const port = await freePort();
  const child = spawn(BINARY, [], { env: { PATH: process.env.PATH, PORT: String(port) }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => { said = (said + chunk).slice(-4000); });
  const origin = `http://127.0.0.1:${port}`;
  const until = Date.now() + READY_WITHIN_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the function exited with ${child.exitCode}:\n${said}`);
    const ready = await fetch(`${origin}/readyz`).then((answer) => answer.ok, () => false);
    if (ready) break;
    if (Date.now() > until) throw new Error(`the function is not ready after ${READY_WITHIN_MS} ms:\n${said}`);
    await sleep(50);
  }
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  };
  return { origin, stop };
}

/** A Chromium whose camera sees this sample. */
export async function startBrowser(seen) {
  const folder = await mkdtemp(join(tmpdir(), 'eye-state-'));
  // Motion JPEG is JPEG files one after the other.
  const film = join(folder, 'camera.mjpeg');
  const picture = await readFile(samplePath(seen));
  await writeFile(film, Buffer.concat(Array(4).fill(picture)));
  return chromium.launch({
    executablePath: browserPath(),
    args: [...QUIET, '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${film}`],
  });
}

/** A page that has loaded, with everything it asked for and complained about. */
export async function open(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const seen = { requests: [], complaints: [], asked: [], most: 0 };
  let underWay = 0;
  const isQuestion = (request) => request.method() === 'POST';
  page.on('request', (request) => {
    seen.requests.push(request.url());
    if (!isQuestion(request)) return;
    seen.asked.push(request);
    seen.most = Math.max(seen.most, ++underWay);
  });
  for (const end of ['requestfinished', 'requestfailed']) {
    page.on(end, (request) => { if (isQuestion(request)) underWay--; });
  }
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('console', (message) => {
    // The browser itself reports every 4xx and 5xx; the tests that provoke them look at the page.
    const expected = message.text().startsWith('Failed to load resource: the server responded');
    if (message.type() === 'error' && !expected) seen.complaints.push(message.text());
  });
  await page.goto(origin);
  await page.locator('#samples button').first().waitFor();
  return { context, page, seen };
}

/** Waits until the badge shows this state. */
export async function state(page, expected) {
  await page.locator(`#badge[data-state="${expected}"]`).waitFor();
}

/** The drawn boxes, in pixels of the image. */
export function drawn(page) {
  return page.locator('#boxes rect.rim + rect').evaluateAll((boxes) => boxes.map((box) => ({
    state: box.getAttribute('class'),
    ...Object.fromEntries(['x', 'y', 'width', 'height'].map((key) => [key, Number(box.getAttribute(key))])),
  })));
}

export function overlap(a, b) {
  const across = Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x));
  const down = Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));
  return (across * down) / (a.width * a.height + b.width * b.height - across * down);
}
