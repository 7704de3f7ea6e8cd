// Shows an answer or an error: badge, boxes over the picture, eyes, timings. Sends nothing and
// decides nothing.

const STATES = { open: 'Eyes open', closed: 'Eyes closed', no_eyes: 'No eyes' };
const STAGES = ['decode', 'preprocess', 'inference', 'postprocess'];
const HISTORY = 90;
const LABEL_PX = 13;

let shown = null; // the answer whose boxes are drawn

export const $ = (id) => document.getElementById(id);

/** What is shown to people when there is no answer; `retryAfter` in seconds, or null. */
export class Problem extends Error {
  constructor(title, detail, retryAfter) {
    super(title);
    Object.assign(this, { title, detail, retryAfter });
  }
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const milliseconds = (value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function badge(state, text, detail) {
  $('badge').dataset.state = state;
  $('badge-icon').setAttribute('href', `#icon-${state}`);
  $('badge-text').textContent = text;
  $('badge-detail').textContent = detail;
}

/** A camera answers several times a second: only a change is worth reading out. */
function announce(text) {
  if ($('announcer').textContent !== text) $('announcer').textContent = text;
}

export function showAnswer(answer, roundTrip, live) {
  $('problem').hidden = true;
  $('result').hidden = false;
  const certain = answer.eyes.length ? `confidence ${percent(answer.confidence)}` : 'nothing above the threshold';
  badge(answer.state, STATES[answer.state], certain);
  announce(`${STATES[answer.state]}${live || !answer.eyes.length ? '' : `, ${certain}`}`);
  drawBoxes(answer);
  showEyes(answer.eyes);
  showTimings(answer.timing_ms, roundTrip);
  $('provenance').textContent =
    `${answer.image.width} × ${answer.image.height} pixels · model ${answer.model.name}, version ${answer.model.version}`;
  $('json').textContent = JSON.stringify(answer, null, 2);
}

function showEyes(eyes) {
  $('eyes').replaceChildren(...eyes.map((eye) => {
    const item = element('li', eye.state);
    const meter = element('meter');
    meter.value = eye.confidence;
    meter.setAttribute('aria-label', `${eye.state}, confidence`);
    const { x, y, width, height } = eye.box;
    const where = `${width.toFixed(0)} × ${height.toFixed(0)} pixels at ${x.toFixed(0)}, ${y.toFixed(0)}`;
    item.append(element('span', 'state', eye.state), meter, element('span', '', percent(eye.confidence)), element('span', 'where quiet', where));
    return item;
  }));
  if (!eyes.length) $('eyes').append(element('li', 'quiet', 'None'));
}

function showTimings(timing, roundTrip) {
  const inside = STAGES.reduce((sum, stage) => sum + timing[stage], 0);
  const parts = [...STAGES.map((stage) => [stage, timing[stage]]), ['network and queue', Math.max(0, roundTrip - inside)]];
  const colour = (name) => `var(--${STAGES.includes(name) ? name : 'elsewhere'})`;
  $('bar').replaceChildren(...parts.map(([name, value]) => {
    const part = element('span');
    part.style.flex = `${value} 0 0`;
    part.style.background = colour(name);
    return part;
  }));
  $('timings').replaceChildren(...parts.flatMap(([name, value]) => {
    const term = element('dt', '', name);
    term.style.setProperty('--mine', colour(name));
    return [term, element('dd', '', milliseconds(value))];
  }), element('dt', 'sum', 'round trip'), element('dd', 'sum', milliseconds(roundTrip)));
}

export function showProblem(error) {
  const problem = error instanceof Problem ? error : new Problem('This page failed', String(error), null);
  drawBoxes(null);
  $('result').hidden = true;
  badge('error', 'No answer', 'see below');
  $('problem').hidden = false;
  $('problem-title').textContent = problem.title;
  $('problem-detail').textContent = problem.detail;
  $('problem-retry').hidden = problem.retryAfter === null;
  $('problem-retry').textContent = `Try again in ${problem.retryAfter} s.`;
}

function svg(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The state over its box; the confidence too where there is room beside the other eye's label. */
function label(overlay, { state, confidence, box }, imageWidth, unit) {
  const size = LABEL_PX * unit;
  const words = svg('text', { 'font-size': size });
  words.textContent = `${state} ${Math.round(100 * confidence)} %`;
  const ground = svg('rect', { height: 1.45 * size, rx: 3 * unit, class: `label ${state}` });
  overlay.append(ground, words);
  const needed = () => words.getComputedTextLength() + 0.8 * size;
  // The other eye begins about 1.4 boxes further on.
  if (needed() > 1.4 * box.width) words.textContent = state;
  const x = Math.min(Math.max(0, box.x), imageWidth - needed());
  const y = box.y > 1.6 * size ? box.y - 1.6 * size : box.y + box.height + 0.15 * size;
  for (const [key, value] of Object.entries({ x, y, width: needed() })) ground.setAttribute(key, value);
  words.setAttribute('x', x + 0.4 * size);
  words.setAttribute('y', y + 1.07 * size);
}

/** Draws the answer's boxes, or none. The overlay's user units are the image's pixels, fitted as the image is; only labels keep the screen's size. */
export function drawBoxes(answer) {
  shown = answer;
  const overlay = $('boxes');
  overlay.replaceChildren();
  const { clientWidth: across, clientHeight: down } = $('stage');
  if (!answer || !across || !down) return;
  const { width, height } = answer.image;
  overlay.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const unit = Math.max(width / across, height / down);
  for (const eye of answer.eyes) {
    const box = { x: eye.box.x, y: eye.box.y, width: eye.box.width, height: eye.box.height, rx: 4 * unit };
    overlay.append(svg('rect', { ...box, class: 'rim' }), svg('rect', { ...box, class: eye.state }));
    label(overlay, eye, width, unit);
  }
}

/** One more mark on the line of a camera's latest answers. */
export function remember(state) {
  const mark = document.createElement('i');
  mark.className = state;
  $('history').hidden = false;
  $('history').append(mark);
  while ($('history').childElementCount > HISTORY) $('history').firstChild.remove();
  $('history').setAttribute('aria-label', `Latest answers, the newest: ${STATES[state] || 'an error'}`);
}

// Labels keep their size on the screen, independent of the picture's.
new ResizeObserver(() => drawBoxes(shown)).observe($('stage'));
