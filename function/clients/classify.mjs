// One picture to the function, from Node.js 20 or newer without packages.
//   node function/clients/classify.mjs function/samples/open.jpg [http://localhost:8080]
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS = 3;
const LONGEST_WAIT = 60; // seconds: who is told to come back in an hour gets the reason instead

/** Seconds until another attempt: a number, or the date that a gateway may send (RFC 9110, section 10.2.3). */
function waitOf(retryAfter) {
  if (!retryAfter) return 1;
  const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1000;
  return Math.max(seconds || 1, 0);
}

/** The answer as an object; throws the function's own words where the picture is refused. */
export async function classify(url, image) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(`${url}/classify`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: image,
      signal: AbortSignal.timeout(30_000),
    });
    if (answer.ok) return answer.json();
    // Something in between may answer in other words.
    const { detail = `${answer.status} ${answer.statusText}` } = await answer.json().catch(() => ({}));
    // 429 and 503 say when another attempt may succeed; what else is refused will be again.
    const wait = waitOf(answer.headers.get('retry-after'));
    if (![429, 503].includes(answer.status) || attempt === ATTEMPTS || wait > LONGEST_WAIT) throw new Error(detail);
    await sleep(1000 * wait);
  }
}

const [image, url = 'http://localhost:8080'] = process.argv.slice(2);
if (!image) {
  console.error('usage: node classify.mjs IMAGE [URL]');
  process.exit(2);
}
try {
  const { state, confidence, eyes } = await classify(url, await readFile(image));
  console.log(state, confidence);
  for (const eye of eyes) console.log(' ', eye.state, eye.confidence, JSON.stringify(eye.box));
} catch (error) {
  console.error(`${image}: ${error.message}`);
  process.exit(1);
}
