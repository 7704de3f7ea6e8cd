// The page's behaviour: takes an image from a file, a paste, a sample or the camera, asks the
// function, shows the answer. One request at a time: a camera frame is sent only after the answer
// to the one before.

import { $, Problem, drawBoxes, element, remember, showAnswer, showProblem } from './answer.js';

// What browsers know no type for; everything else is sniffed by the function.
const TYPES = { pgm: 'image/x-portable-graymap', tif: 'image/tiff', tiff: 'image/tiff', bmp: 'image/bmp' };
// The model looks at a few hundred pixels; more from a camera would only cost time on the way.
const FRAME_SIDE = 640;
const FRAME_QUALITY = 0.85;
// Long enough that a dragged slider asks once, short enough to feel immediate.
const SLIDER_PAUSE_MS = 150;
// Without a Retry-After, a camera waits this long after an error.
const PAUSE_AFTER_ERROR_S = 2;

let image = null; // { blob, name, type } last chosen
let asking = null; // AbortController of the request under way
let stream = null; // the camera's MediaStream while it runs
let thresholds = {};

// ---- asking
// -----------------------------------------------------------------------------------------------

function address() {
  const query = new URLSearchParams(thresholds).toString();
  return 'classify' + (query && `?${query}`);
}

/** Seconds from a Retry-After header, which may also be a date. */
function retryAfter(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : null;
}

async function post(blob, type, accept, signal) {
  let response;
  try {
    response = await fetch(address(), { method: 'POST', body: blob, headers: { 'content-type': type, accept }, signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem('The function cannot be reached', 'Check the connection, then try again.', null);
  }
  if (response.ok) return response;
  const wait = retryAfter(response.headers.get('retry-after'));
  let said = {};
  try { said = await response.json(); } catch { /* a proxy's page, not the function's problem document */ }
  throw new Problem(said.title || `Error ${response.status}`, said.detail || response.statusText || 'No details were given.', wait);
}

async function classify(blob, type, signal) {
  const started = performance.now();
  const response = await post(blob, type, 'application/json', signal);
  const answer = await response.json();
  return { answer, roundTrip: performance.now() - started };
}

/** The same question on the command line. */
function showCommand(file, type) {
  const whole = new URL(address(), location.href);
  $('command').textContent = `curl --data-binary '@${file}' -H 'content-type: ${type}' \\\n  '${whole}'`;
}

// ---- one image
// -----------------------------------------------------------------------------------------------

async function show(blob, name, declared, title) {
  stopCamera();
  const extension = name.split('.').pop().toLowerCase();
  const type = declared || blob.type || TYPES[extension] || 'application/octet-stream';
  image = { blob, name, type };
  if ($('picture').src) URL.revokeObjectURL($('picture').src);
  const picture = $('picture');
  picture.alt = title || `Chosen image ${name}`;
  picture.src = URL.createObjectURL(blob);
  picture.hidden = false;
  $('invitation').hidden = true;
  drawBoxes(null);
  await ask();
}

async function ask() {
  if (!image) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  $('stage').classList.add('busy');
  try {
    const { answer, roundTrip } = await classify(image.blob, image.type, mine.signal);
    const seen = await displayable();
    if (mine.signal.aborted) return;
    showAnswer(answer, roundTrip, false);
    showCommand(image.name, image.type);
    if (!seen) await showDrawn(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    showProblem(error);
    // Not an image at all: no broken picture either.
    const seen = await displayable();
    if (!mine.signal.aborted && !seen) {
      $('picture').hidden = true;
      $('invitation').hidden = false;
    }
  } finally {
    if (asking === mine) {
      asking = null;
      $('stage').classList.remove('busy');
    }
  }
}

async function displayable() {
  try { await $('picture').decode(); return true; } catch { return false; }
}

/** Formats the browser cannot show come back from the function as PNG, boxes drawn. */
async function showDrawn(signal) {
  const response = await post(image.blob, image.type, 'image/png', signal);
  URL.revokeObjectURL($('picture').src);
  $('picture').src = URL.createObjectURL(await response.blob());
  drawBoxes(null);
}

// ---- the camera
// -----------------------------------------------------------------------------------------------

async function startCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    showProblem(new Problem('No camera here', 'Browsers give a page the camera only over HTTPS or on localhost.', null));
    return;
  }
  asking?.abort();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    const refused = error.name === 'NotAllowedError';
    showProblem(new Problem('The camera cannot be used', refused ? 'Allow this page to use it, then try again.' : error.message, null));
    return;
  }
  image = null;
  markSample(null);
  const video = $('video');
  video.srcObject = stream;
  video.hidden = $('live').hidden = false;
  $('picture').hidden = $('invitation').hidden = true;
  $('camera').textContent = 'Stop camera';
  $('camera').setAttribute('aria-pressed', 'true');
  $('history').replaceChildren();
  drawBoxes(null);
  await video.play();
  await watch(stream);
}

function stopCamera() {
  if (!stream) return;
  stream.getTracks().forEach((track) => track.stop());
  stream = null;
  asking?.abort();
  $('video').srcObject = null;
  $('video').hidden = $('live').hidden = $('history').hidden = true;
  $('invitation').hidden = false;
  $('camera').textContent = 'Use camera';
  $('camera').setAttribute('aria-pressed', 'false');
  drawBoxes(null);
}

/** Sends a frame, waits for its answer, sends the next, while this stream runs. */
async function watch(mine) {
  while (stream === mine) {
    const control = (asking = new AbortController());
    try {
      const { answer, roundTrip } = await classify(await frame(), 'image/jpeg', control.signal);
      if (stream !== mine) return;
      showAnswer(answer, roundTrip, true);
      showCommand('frame.jpg', 'image/jpeg');
      remember(answer.state);
    } catch (error) {
      if (stream !== mine) return;
      showProblem(error);
      remember('error');
      await countDown(error.retryAfter ?? PAUSE_AFTER_ERROR_S, () => stream === mine);
    }
  }
}

function frame() {
  const video = $('video');
  const scale = Math.min(1, FRAME_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', FRAME_QUALITY));
}

async function countDown(seconds, wanted) {
  for (let left = seconds; left > 0 && wanted(); left--) {
    $('problem-retry').hidden = false;
    $('problem-retry').textContent = `Next try in ${left} s.`;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// ---- samples, thresholds, events
// ---------------------------------------------------------------------------------

function markSample(file) {
  for (const button of $('samples').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.file === file));
  }
}

async function listSamples() {
  const samples = await (await fetch('samples')).json();
  $('samples').replaceChildren(...samples.map(({ file, title }) => {
    const button = element('button');
    button.type = 'button';
    button.dataset.file = file;
    button.setAttribute('aria-pressed', 'false');
    const thumbnail = element('img');
    Object.assign(thumbnail, { src: `samples/${file}`, alt: '', loading: 'lazy' });
    button.append(thumbnail, element('span', '', title));
    button.addEventListener('click', () => showSample(file, title));
    const item = element('li');
    item.append(button);
    return item;
  }));
}

async function showSample(file, title) {
  markSample(file);
  const blob = await (await fetch(`samples/${file}`)).blob();
  await show(blob, file, blob.type, `Sample: ${title}`);
  $('stage').scrollIntoView({ block: 'nearest' });
}

function choose(file) {
  if (!file) return;
  markSample(null);
  show(file, file.name || 'pasted.png', '', null);
}

function listen() {
  $('file').addEventListener('change', (event) => {
    choose(event.target.files[0]);
    event.target.value = ''; // choosing the same file again asks again
  });
  $('camera').addEventListener('click', () => (stream ? stopCamera() : startCamera()));
  document.addEventListener('paste', (event) => choose(event.clipboardData.files[0]));
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $('stage').classList.toggle('dragging', kind === 'dragover');
      if (kind === 'drop') choose(event.dataTransfer.files[0]);
    });
  }
  let pause;
  const sliders = { confidence: 'confidence_threshold', iou: 'iou_threshold' };
  const name = (id) => {
    $(`${id}-value`).textContent = thresholds[sliders[id]] ?? "the function's own";
  };
  for (const [id, parameter] of Object.entries(sliders)) {
    name(id);
    $(id).addEventListener('input', () => {
      thresholds[parameter] = Number($(id).value).toFixed(2);
      name(id);
      clearTimeout(pause);
      pause = setTimeout(ask, SLIDER_PAUSE_MS);
    });
  }
  $('defaults').addEventListener('click', () => {
    thresholds = {};
    Object.keys(sliders).forEach(name);
    ask();
  });
  window.addEventListener('pagehide', stopCamera);
}

listen();
listSamples().catch(() => $('samples').replaceChildren(element('li', 'quiet', 'The samples could not be loaded.')));
