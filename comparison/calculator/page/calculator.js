'use strict';
// The calculator's page. build.py inserts WASM, the simulator (gzip, base64), and ERRORS, its mean
// deviation from recorded runs (`comparison against --errors`).
const WASM = /*WASM*/ '';
const ERRORS = /*ERRORS*/ null;

const ARMS = [
  { kind: 'kpa', name: 'KPA', dash: '', mark: 'circle' },
  { kind: 'hpa', name: 'HPA', dash: '7 4', mark: 'square' },
  { kind: 'hpa-vpa', name: 'HPA + VPA', dash: '2 3', mark: 'diamond' },
  { kind: 'keda', name: 'KEDA', dash: '9 3 2 3', mark: 'triangle' },
  { kind: 'hpa-zero', name: 'HPA to zero', dash: '4 2', mark: 'cross' },
];
const POD = [
  ['service_ms', 'CPU time of a request', 'ms', 8], ['millicores', 'CPU of a pod', 'millicores', 1000],
  ['memory_mib', 'Memory of a pod', 'MiB', 256], ['start_s', 'Start until ready', 's', 2], ['drain_s', 'Drain', 's', 6],
  ['hop_ms', 'Network and gateway', 'ms', 1], ['queue', 'Queue of a pod', 'requests', 16], ['objective_ms', 'Latency objective', 'ms', 500],
  ['timeout_ms', 'Client timeout', 'ms', 15000], ['tail_s', 'Simulated after the load', 's', 420],
  ['core_hour', 'Price of a core per hour', 'money', 0.04], ['gib_hour', 'Price of a GiB per hour', 'money', 0.005],
];
const DRAWN = 'draw a curve';
const TRACE = 'a CSV of requests';
// Numbers of a pod that are whole.
const WHOLE = ['millicores', 'queue'];
// Settings of which the first must not be above the second; a max-scale of 0 is no limit.
const RANGES = [['min-scale', 'max-scale'], ['minReplicas', 'maxReplicas'], ['minReplicaCount', 'maxReplicaCount'], ['minAllowed.cpu', 'maxAllowed.cpu']];
// More points than these have no handles to drag: they would lie on each other.
const MOST_HANDLES = 300;
// Longer addresses are cut by mail programs and chats, and at last by browsers.
const MOST_ADDRESS = 32_000;
const FIRST_POINTS = [[0, 5], [120, 5], [120, 40], [300, 40], [300, 5], [600, 5]];
const $ = (id) => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';

// ---- the simulator, one worker for each autoscaler ----

// Runs in a worker. Each call passes four bytes, so that the module exchanges no addresses.
function workerMain() {
  let exports;
  self.onmessage = ({ data }) => {
    if (data.module) { exports = new WebAssembly.Instance(data.module).exports; return; }
    const began = performance.now();
    const text = new TextEncoder().encode(data.request);
    const padded = new Uint8Array(Math.ceil(text.length / 4) * 4).fill(32);
    padded.set(text);
    for (const word of new Uint32Array(padded.buffer)) exports.put(word);
    const length = exports.run();
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let i = 0; i < words.length; i++) words[i] = exports.get(i * 4);
    const answer = JSON.parse(new TextDecoder().decode(new Uint8Array(words.buffer, 0, length)));
    self.postMessage({ id: data.id, answer, took: performance.now() - began });
  };
}

class Simulator {
  constructor(module) {
    this.module = module;
    this.last = 0;
    this.start();
  }

  start() {
    const source = URL.createObjectURL(new Blob([`(${workerMain})()`], { type: 'text/javascript' }));
    this.waiting = new Map();
    this.worker = new Worker(source);
    this.worker.postMessage({ module: this.module });
    this.worker.onmessage = ({ data }) => {
      URL.revokeObjectURL(source);
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.answer.error) reject(new Error(data.answer.error)); else resolve({ ...data.answer, took: data.took });
    };
    this.worker.onerror = (event) => { event.preventDefault(); this.stop(`The simulator stopped: ${event.message}`); };
  }

  // Ends what runs. The next question has a new worker.
  stop(reason) {
    if (!this.waiting.size) return;
    this.worker.terminate();
    const ended = [...this.waiting.values()];
    this.start();
    for (const { reject } of ended) reject(new Error(reason));
  }

  ask(request) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, request: JSON.stringify(request) });
    });
  }
}

// ---- state ----

const LOAD = { shape: 'spike', scale: 5, stretch: 1, seed: 1, points: FIRST_POINTS };
const state = { ...structuredClone(LOAD), pod: {}, values: {} };
let trace = null;
let scenarios = [];
let fields = {};
let simulators = [];
// For files: no simulation is in their way.
let reader = null;
let results = [];
let runs = 0;

const encode = (value) => btoa(JSON.stringify(value)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const decode = (text) => JSON.parse(atob(text.replaceAll('-', '+').replaceAll('_', '/')));

// Only values that differ from the defaults, which keeps the address short.
function shared() {
  const out = { s: state.shape, k: state.scale, t: state.stretch, e: state.seed };
  if (state.shape === DRAWN) out.p = state.points;
  const pod = Object.fromEntries(POD.filter(([key, , , value]) => state.pod[key] !== value).map(([key]) => [key, state.pod[key]]));
  if (Object.keys(pod).length) out.o = pod;
  const values = {};
  for (const { kind } of ARMS) {
    const changed = fields[kind].filter((f) => state.values[kind][f.name] !== f.default).map((f) => [f.name, state.values[kind][f.name]]);
    if (changed.length) values[kind] = Object.fromEntries(changed);
  }
  if (Object.keys(values).length) out.v = values;
  return out;
}

// The address of the settings, without a curve that is too long for one.
function address() {
  const whole = encode(shared());
  return `#${whole.length > MOST_ADDRESS ? encode({ ...shared(), p: undefined }) : whole}`;
}

// Takes the settings of an address. What is not in it has its default.
function restore(hash) {
  Object.assign(state, structuredClone(LOAD));
  for (const [key, , , value] of POD) state.pod[key] = value;
  for (const { kind } of ARMS) state.values[kind] = Object.fromEntries(fields[kind].map((f) => [f.name, f.default]));
  notice('');
  if (hash.length < 2) return;
  let unread = false;
  const number = (value, fallback) => {
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    unread ||= value !== undefined;
    return fallback;
  };
  try {
    const from = decode(hash.slice(1));
    if (typeof from !== 'object' || from === null) throw new TypeError('no settings');
    const known = from.s === DRAWN || from.s === TRACE || scenarios.some((s) => s.name === from.s);
    if (known) state.shape = from.s; else unread ||= from.s !== undefined;
    state.scale = number(from.k, LOAD.scale);
    state.stretch = number(from.t, LOAD.stretch);
    state.seed = number(from.e, LOAD.seed);
    const curve = (p) => Array.isArray(p) && p.length > 1 && p.every((q) => Array.isArray(q) && q.length === 2 && q.every(Number.isFinite));
    if (curve(from.p)) state.points = from.p; else unread ||= from.s === DRAWN;
    for (const [key] of POD) state.pod[key] = number(from.o?.[key], state.pod[key]);
    unread ||= Object.keys(from.v ?? {}).some((kind) => ARMS.every((a) => a.kind !== kind));
    for (const { kind } of ARMS) {
      for (const f of fields[kind]) state.values[kind][f.name] = number(from.v?.[kind]?.[f.name], f.default);
      unread ||= Object.keys(from.v?.[kind] ?? {}).some((name) => fields[kind].every((f) => f.name !== name));
    }
    if (unread) notice('A part of the address cannot be read or is missing. It has its default.');
    if (state.shape === TRACE) notice('The address is of a CSV file, which it does not contain. Choose the file again.');
  } catch {
    notice('The address has no valid settings: it may have been cut. The defaults are shown.');
  }
}

function load() {
  if (state.shape === TRACE) {
    if (!trace) throw new Error('Choose a CSV file first.');
    return { arrivals: trace };
  }
  if (state.shape === DRAWN) return { points: state.points };
  return { scenario: [state.shape, state.scale, state.stretch] };
}

// Stays until the next edit, also while and after a simulation.
function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

// Results that are not of the settings on the page.
function clearResults() {
  results = [];
  for (const id of ['table', 'charts', 'export']) $(id).replaceChildren();
  outdated(false);
}

// Marks results of earlier settings while the next ones are on their way.
function outdated(old) {
  $('results').classList.toggle('old', old);
  $('results').ariaBusy = String(old);
}

function fail(problem) {
  clearResults();
  say(problem.message, true);
}

const largest = (values, least) => values.reduce((most, value) => Math.max(most, value ?? 0), least);

function say(text, wrong = false) {
  $('status').textContent = text;
  $('status').className = wrong ? 'wrong' : '';
}

// ---- forms ----

function element(name, attributes = {}, ...children) {
  const node = name === 'svg' || name.startsWith('svg:') ? document.createElementNS(NS, name.replace('svg:', '')) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function numberField(text, unit, value, change, bounds = {}) {
  const input = element('input', { type: 'number', step: 'any', required: '', value, ...bounds });
  input.addEventListener('change', () => {
    if (Number.isFinite(input.valueAsNumber)) change(input.valueAsNumber);
    simulateSoon();
  });
  return element('label', {}, `${text} `, element('span', {}, unit), input);
}

function drawForms() {
  $('pod').replaceChildren(...POD.map(([key, text, unit]) => numberField(text, unit, state.pod[key], (v) => { state.pod[key] = v; }, { min: 0, step: WHOLE.includes(key) ? 1 : 'any', 'data-pod': key })));
  const open = new Set([...document.querySelectorAll('#arms details[open]')].map((d) => d.dataset.kind));
  $('arms').replaceChildren(...ARMS.map(({ kind, name }) => {
    const inputs = fields[kind].map((f) => numberField(f.name, f.unit, state.values[kind][f.name],
      (v) => { state.values[kind][f.name] = v; drawSummaries(); }, { min: f.least, max: f.most, step: f.whole ? 1 : 'any', 'data-setting': `${kind}/${f.name}` }));
    const details = element('details', { 'data-kind': kind }, element('summary', {}, name), element('div', { class: 'grid' }, ...inputs));
    details.open = open.has(kind);
    return details;
  }));
  for (const id of ['scale', 'stretch', 'seed']) $(id).value = state[id];
  $('shape').value = state.shape;
  drawSummaries();
  drawLoad();
}

// Whether all fields are valid. The first one that is not is named, and shown if the user asked for
// something.
function checked(asked) {
  const field = (kind, name) => document.querySelector(`[data-setting="${kind}/${name}"]`);
  for (const { kind } of ARMS) {
    for (const [least, most] of RANGES) {
      const [low, high] = [field(kind, least), field(kind, most)];
      if (!low) continue;
      const limited = most !== 'max-scale' || high.valueAsNumber > 0;
      low.setCustomValidity(limited && low.valueAsNumber > high.valueAsNumber ? `${least} ${low.value} is above ${most} ${high.value}.` : '');
    }
  }
  const wrong = [...$('form').elements].find((e) => e.willValidate && !e.validity.valid);
  if (!wrong) return true;
  const arm = ARMS.find((a) => wrong.dataset.setting?.startsWith(`${a.kind}/`));
  const name = wrong.closest('label').firstChild.textContent.trim();
  for (const simulator of simulators) simulator.stop('');
  runs++;
  fail(new Error(`${arm ? `${arm.name}, ` : ''}${name}: ${wrong.validationMessage}`));
  if (asked) {
    const section = wrong.closest('details');
    if (section) section.open = true;
    wrong.reportValidity();
  }
  return false;
}

function drawSummaries() {
  for (const { kind, name } of ARMS) {
    const changed = fields[kind].filter((f) => state.values[kind][f.name] !== f.default).map((f) => `${f.name} ${state.values[kind][f.name]}`);
    document.querySelector(`#arms details[data-kind="${kind}"] summary`).textContent = `${name}: ${changed.join(', ') || 'defaults'}`;
  }
}

// ---- the load ----

const drawn = () => state.shape === DRAWN;

function curvePoints() {
  if (drawn()) return state.points;
  if (state.shape === TRACE) {
    if (!trace) return [[0, 0], [1, 0]];
    const bins = 160;
    const width = Math.max(trace.length_s / bins, 1e-9);
    const counts = new Array(bins).fill(0);
    for (const moment of trace) counts[Math.min(bins - 1, Math.floor(moment / width))]++;
    return counts.map((count, i) => [i * width, count / width]);
  }
  const scenario = scenarios.find((s) => s.name === state.shape);
  return scenario.points.map(([s, r]) => [s * state.stretch, r * state.scale]);
}

// Steps between the lines of a chart: round numbers, and round times in seconds.
const STEPS = [1, 2, 5, 10];
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

// The step that is nearest by its ratio.
const nearest = (steps, step) => steps.reduce((a, b) => (Math.abs(Math.log(b / step)) < Math.abs(Math.log(a / step)) ? b : a));

// Round values from 0 to at most `most`, about `wanted` of them behind 0.
function ticks(most, wanted = 4) {
  const power = 10 ** Math.floor(Math.log10(most / wanted));
  return multiples(power * nearest(STEPS, most / wanted / power), most);
}

function timeTicks(longest, wanted = 3) {
  if (longest < wanted) return ticks(longest, wanted);
  const day = TIME_STEPS.at(-1);
  return longest > wanted * day ? ticks(longest / day, wanted).map((d) => d * day) : multiples(nearest(TIME_STEPS, longest / wanted), longest);
}

function multiples(step, most) {
  return Array.from({ length: Math.floor((most / step) * (1 + 1e-9)) + 1 }, (_, i) => i * step);
}

// Vertical and horizontal scale of a chart: lines at round values, times below.
function scaleLines(svg, box, x, y, values, times) {
  for (const value of values) {
    const label = element('svg:text', { x: box.left - 6, y: y(value) + 4, 'text-anchor': 'end' });
    label.textContent = short(value);
    svg.append(element('svg:line', { x1: box.left, x2: box.width - box.right, y1: y(value), y2: y(value), class: 'axis' }), label);
  }
  for (const time of times) {
    const at = x(time);
    const anchor = time === 0 ? 'start' : at > box.width - 3 * box.right ? 'end' : 'middle';
    const label = element('svg:text', { x: at, y: box.height - 7, 'text-anchor': anchor });
    label.textContent = duration(time);
    svg.append(label);
  }
}

const BOX = { left: 46, right: 12, top: 12, bottom: 26, width: 640, height: 180 };

function scales(points) {
  const longest = largest(points.map((p) => p[0]), 1);
  const most = largest(points.map((p) => p[1]), 1) * 1.1;
  return {
    longest, most,
    x: (s) => BOX.left + (s / longest) * (BOX.width - BOX.left - BOX.right),
    y: (r) => BOX.height - BOX.bottom - (r / most) * (BOX.height - BOX.top - BOX.bottom),
  };
}

function drawLoad() {
  for (const node of document.querySelectorAll('.scenario')) node.hidden = drawn() || state.shape === TRACE;
  for (const node of document.querySelectorAll('.drawn')) node.hidden = !drawn();
  for (const node of document.querySelectorAll('.trace')) node.hidden = state.shape !== TRACE;
  // A field that is not shown is not checked.
  for (const id of ['scale', 'stretch']) $(id).disabled = drawn() || state.shape === TRACE;
  $('points').disabled = !drawn();
  $('about').textContent = scenarios.find((s) => s.name === state.shape)?.about ?? '';
  drawCurve();
  if (drawn() && document.activeElement !== $('points')) {
    $('points').value = state.points.map((p) => p.join(' ')).join('\n');
    $('points').setCustomValidity('');
  }
}

function drawCurve() {
  const points = curvePoints();
  const { x, y, longest, most } = scales(points);
  const svg = $('curve');
  const focused = document.activeElement?.dataset?.point;
  svg.replaceChildren();
  scaleLines(svg, BOX, x, y, ticks(most, 3), timeTicks(longest));
  svg.append(element('svg:path', { d: `M${points.map(([s, r]) => `${x(s).toFixed(1)} ${y(r).toFixed(1)}`).join('L')}`, class: 'rate' }));
  if (!drawn() || points.length > MOST_HANDLES) return;
  points.forEach((point, i) => {
    const circle = element('svg:circle', {
      cx: x(point[0]), cy: y(point[1]), r: 9, class: 'point', tabindex: 0, role: 'slider', 'data-point': i,
      'aria-label': `point ${i + 1}`, 'aria-valuenow': point[1], 'aria-valuemin': 0,
      'aria-valuetext': `${short(point[1])} per second at ${duration(point[0])}`,
    });
    circle.addEventListener('keydown', (event) => keyPoint(event, i));
    circle.addEventListener('pointerdown', (event) => dragPoint(event, i));
    svg.append(circle);
  });
  if (focused !== undefined) svg.querySelector(`[data-point="${focused}"]`)?.focus();
}

// A point stays between its neighbours, the first one at second 0.
function movePoint(i, second, rate) {
  const before = i > 0 ? state.points[i - 1][0] : 0;
  const after = state.points[i + 1]?.[0] ?? Infinity;
  const s = i === 0 ? 0 : Math.min(after, Math.max(before, second));
  state.points[i] = [Math.round(s * 10) / 10, Math.round(Math.max(0, rate) * 100) / 100];
  drawLoad();
  simulateSoon();
}

function keyPoint(event, i) {
  const { longest, most } = scales(state.points);
  const [s, r] = state.points[i];
  const moves = { ArrowUp: [0, most / 40], ArrowDown: [0, -most / 40], ArrowLeft: [-longest / 40, 0], ArrowRight: [longest / 40, 0] };
  const move = moves[event.key];
  if (move) movePoint(i, s + move[0], r + move[1]);
  else if (event.key === 'Delete' && i > 0 && state.points.length > 2) { state.points.splice(i, 1); drawLoad(); simulateSoon(); }
  else return;
  event.preventDefault();
}

function at(event) {
  const box = $('curve').getBoundingClientRect();
  const { longest, most } = scales(state.points);
  const px = ((event.clientX - box.left) / box.width) * BOX.width;
  const py = ((event.clientY - box.top) / box.height) * BOX.height;
  return [((px - BOX.left) / (BOX.width - BOX.left - BOX.right)) * longest, ((BOX.height - BOX.bottom - py) / (BOX.height - BOX.top - BOX.bottom)) * most];
}

function dragPoint(event, i) {
  event.preventDefault();
  const svg = $('curve');
  const move = (e) => movePoint(i, ...at(e));
  const end = () => { svg.removeEventListener('pointermove', move); window.removeEventListener('pointerup', end); };
  svg.addEventListener('pointermove', move);
  window.addEventListener('pointerup', end);
}

const DATE = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)([.,]\d+)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?$/i;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
// Units of times since 1970 by the least number that has them. A number of seconds of this size
// would be a date in the year 5138.
const UNITS = [[1e17, 1e9, 'nanoseconds since 1970'], [1e14, 1e6, 'microseconds since 1970'], [1e11, 1e3, 'milliseconds since 1970'], [-Infinity, 1, 'seconds']];

// Parses the time of a line: a number, or a date and time with any number of decimal places. A
// time without a zone is taken as UTC.
function moment(line, separator) {
  const first = (/^\s*"([^"]*)"/.exec(line)?.[1] ?? line.split(separator)[0]).trim();
  const date = DATE.exec(first);
  if (date) {
    const [, day, time, fraction = '', zone = 'Z'] = date;
    const offset = /^(z|utc)$/i.test(zone) ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`;
    return { date: true, value: Date.parse(`${day}T${time}${offset}`) / 1000 + Number(`0${fraction.replace(',', '.')}`) };
  }
  const plain = separator === ',' ? first : first.replace(',', '.');
  return { date: false, value: NUMBER.test(plain) ? Number(plain) : NaN };
}

// Times in the first column of a text, in seconds, and what was understood.
function moments(text) {
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/).map((line, i) => ({ line, at: i + 1 })).filter(({ line }) => line.trim());
  const separator = [';', '\t'].find((s) => lines.slice(0, 2).some(({ line }) => line.includes(s))) ?? ',';
  const read = lines.map(({ line, at }) => ({ at, ...moment(line, separator) }));
  // The first line may be a heading.
  const unread = read.filter((m, i) => i > 0 && !Number.isFinite(m.value));
  const good = read.filter((m) => Number.isFinite(m.value));
  if (good.some((m) => m.date !== good[0].date)) throw new Error('Some times are dates and some are numbers.');
  const numbers = good.map((m) => m.value);
  const least = numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const [, divisor, unit] = good[0]?.date ? [0, 1, 'dates'] : UNITS.find(([from]) => least >= from);
  const lost = unread.length ? ` ${unread.length.toLocaleString('en')} lines could not be read and are left out; the first is line ${unread[0].at}.` : '';
  return { seconds: numbers.map((n) => n / divisor), said: `Times were read as ${unit}.${lost}` };
}

async function takeFile(file) {
  let read;
  try {
    read = moments(await file.text());
    if (read.seconds.length < 2) throw new Error('There are not two times in its first column.');
  } catch (problem) {
    say(`${file.name}: ${problem.message}`, true);
    return;
  }
  const sorted = read.seconds.sort((a, b) => a - b);
  trace = sorted.map((m) => Math.round((m - sorted[0]) * 1e6) / 1e6);
  trace.length_s = trace.at(-1);
  $('trace-text').textContent = `${file.name}: ${trace.length.toLocaleString('en')} requests in ${duration(trace.length_s)}. ${read.said} The page address does not contain them.`;
  state.shape = TRACE;
  $('shape').value = TRACE;
  drawLoad();
  simulateSoon();
}

// ---- numbers ----

function short(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size >= 100) return value.toFixed(0);
  return Number(value.toPrecision(3)).toString();
}

function duration(s) {
  if (s >= 172800) return `${short(s / 86400)} d`;
  if (s >= 7200) return `${short(s / 3600)} h`;
  return s >= 120 ? `${short(s / 60)} min` : `${short(s)} s`;
}

// Mean deviation from recorded runs in the number's unit; null without recorded runs.
function error(kind, measure, value) {
  const errors = ERRORS?.autoscalers?.[kind];
  if (!errors || value === null || value === undefined) return null;
  return measure === 'good' ? errors.good_points : (value * errors[`${measure}_percent`]) / 100;
}

function withError(kind, measure, value, unit = '') {
  if (value === null || value === undefined) return element('td', {}, '–');
  const off = error(kind, measure, value);
  return element('td', {}, `${short(value)}${unit} `, element('small', {}, off === null ? '± ?' : `± ${short(off)}`));
}

// ---- results ----

let soon = 0;
function simulateSoon() {
  clearTimeout(soon);
  notice('');
  $('export').replaceChildren();
  $('frontier-old').hidden = false;
  if (!checked(false)) return;
  // What runs is of earlier settings.
  runs++;
  for (const simulator of simulators) simulator.stop('');
  outdated(true);
  history.replaceState(null, '', address());
  soon = setTimeout(simulate, 250);
}

async function simulate(asked = false) {
  clearTimeout(soon);
  if (!checked(asked)) return;
  const run = ++runs;
  for (const simulator of simulators) simulator.stop('');
  try {
    const offered = load();
    outdated(true);
    say('Simulating …');
    const began = performance.now();
    const asked = ARMS.map(({ kind }, i) => simulators[i].ask({ ask: 'simulate', load: offered, pod: state.pod, kind, values: state.values[kind], seed: state.seed }));
    const answers = await Promise.all(asked);
    if (run !== runs) return;
    results = answers;
    drawTable();
    drawCharts();
    outdated(false);
    const slowest = largest(answers.map((a) => a.took), 0);
    say(`${short(answers[0].table.requests)} requests through each of ${ARMS.length}, in ${short((performance.now() - began) / 1000)} s (slowest ${short(slowest / 1000)} s).`);
    document.body.dataset.done = String(run);
  } catch (problem) {
    if (run === runs) fail(problem);
  }
}

function drawTable() {
  const heads = ['autoscaler', 'good answers', 'p50', 'p99', 'ready pods, mean', 'maximum', 'pods started', 'core-seconds', 'cost', 'refused', 'late'];
  const row = ({ kind, name }, i) => {
    const t = results[i].table;
    const share = (value) => (t.requests > 0 ? value : null);
    return element('tr', {},
      element('th', { scope: 'row' }, name),
      withError(kind, 'good', share(t.good), ' %'),
      element('td', {}, t.p50_ms === null ? '–' : `${short(t.p50_ms)} ms`),
      withError(kind, 'p99', t.p99_ms, ' ms'),
      withError(kind, 'pods', t.pods),
      element('td', {}, short(t.most_pods)),
      element('td', {}, short(t.started)),
      withError(kind, 'cost', t.core_seconds),
      withError(kind, 'cost', t.cost),
      element('td', {}, share(t.refused) === null ? '–' : `${short(t.refused)} %`),
      element('td', {}, share(t.late) === null ? '–' : `${short(t.late)} %`));
  };
  $('table').replaceChildren(
    element('caption', { class: 'quiet' }, 'Simulated results. Cost and pods include the time after the load.'),
    element('thead', {}, element('tr', {}, ...heads.map((h) => element('th', { scope: 'col' }, h)))),
    element('tbody', {}, ...ARMS.map(row)));
}

function mark(shape, x, y, r, colour) {
  const fill = { fill: `var(--${colour})` };
  if (shape === 'circle') return element('svg:circle', { cx: x, cy: y, r, ...fill });
  if (shape === 'square') return element('svg:rect', { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...fill });
  if (shape === 'cross') return element('svg:path', { d: `M${x - r} ${y}H${x + r}M${x} ${y - r}V${y + r}`, stroke: `var(--${colour})`, 'stroke-width': r * 0.8 });
  const path = shape === 'diamond' ? `M${x} ${y - r - 1}L${x + r + 1} ${y}L${x} ${y + r + 1}L${x - r - 1} ${y}Z` : `M${x} ${y - r - 1}L${x + r + 1} ${y + r}L${x - r - 1} ${y + r}Z`;
  return element('svg:path', { d: path, ...fill });
}

// Two rows at most: the charts leave room for them.
function legend(svg, left, width) {
  let [x, y] = [left, 10];
  for (const { kind, name, dash, mark: shape } of ARMS) {
    // A letter of the largest type takes ten units at most.
    const length = 34 + 10 * name.length;
    if (x + length > width) [x, y] = [left, y + 18];
    svg.append(element('svg:line', { x1: x, x2: x + 28, y1: y, y2: y, stroke: `var(--${kind})`, 'stroke-width': 2.5, 'stroke-dasharray': dash }), mark(shape, x + 14, y, 3.5, kind));
    const text = element('svg:text', { x: x + 34, y: y + 4 });
    text.textContent = name;
    svg.append(text);
    x += length + 24;
  }
}

// One chart with a line for each autoscaler, distinguished by colour, dashes and marks.
function chart(title, unit, series, width) {
  const box = { left: 52, right: 14, top: 46, bottom: 24, width: 560, height: 258 };
  const longest = largest(series.map((s) => s.length * s.width), 1e-9);
  const peak = largest(series.flatMap((s) => s.values), 1e-9);
  const most = unit === '%' ? Math.min(100, peak * 1.08) : peak * 1.08;
  const x = (s) => box.left + (s / longest) * (box.width - box.left - box.right);
  const y = (v) => box.height - box.bottom - (v / most) * (box.height - box.top - box.bottom);
  const peaks = series.map((s, i) => `${ARMS[i].name} at most ${short(largest(s.values, 0))} ${unit}`);
  const svg = element('svg', { viewBox: `0 0 ${box.width} ${box.height}`, role: 'img', 'aria-label': `${title}: ${peaks.join(', ')}` });
  scaleLines(svg, box, x, y, ticks(most), timeTicks(longest));
  series.forEach((s, i) => {
    const { kind, dash, mark: shape } = ARMS[i];
    let path = '';
    let pen = 'M';
    s.values.forEach((value, n) => {
      if (value === null) { pen = 'M'; return; }
      path += `${pen}${x((n + 0.5) * s.width).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = 'L';
    });
    svg.append(element('svg:path', { d: path || 'M0 0', fill: 'none', stroke: `var(--${kind})`, 'stroke-width': 2, 'stroke-dasharray': dash }));
    // Marks at different positions for each line, so that overlapping lines stay visible.
    for (let n = Math.round((s.values.length * (i + 1)) / 20); n < s.values.length; n += Math.ceil(s.values.length / 4)) {
      if (s.values[n] !== null) svg.append(mark(shape, x((n + 0.5) * s.width), y(s.values[n]), 4, kind));
    }
  });
  legend(svg, box.left, box.width);
  return element('figure', {}, element('figcaption', {}, `${title} (${unit})`), svg);
}

function drawCharts() {
  const of = (key, width) => results.map((r) => ({ values: r[key], width: r[width], length: r[key].length }));
  $('charts').replaceChildren(
    chart('Ready pods', 'pods', of('pods', 'bin_s')),
    chart('Latency, 99th percentile', 'ms', of('p99', 'latency_bin_s')),
    chart('Not answered in time', '%', of('misses', 'bin_s')),
    chart('Cost', 'per hour', of('price', 'bin_s')));
}

async function searchFrontier() {
  clearTimeout(soon);
  if (!checked(true)) return;
  const run = ++runs;
  for (const simulator of simulators) simulator.stop('');
  try {
    const offered = load();
    say('Searching settings …');
    const asked = ARMS.map(({ kind }, i) => simulators[i].ask({ ask: 'frontier', load: offered, pod: state.pod, kind, values: state.values[kind], seed: state.seed }));
    const answers = await Promise.all(asked);
    if (run !== runs) return;
    drawFrontier(answers);
    say(`${answers.map((a) => a.tried).join(', ')} settings tried.`);
    document.body.dataset.searched = String(run);
  } catch (problem) {
    if (run === runs) say(problem.message, true);
  }
}

function drawFrontier(answers) {
  const box = { left: 68, right: 20, top: 28, bottom: 40, width: 760, height: 380 };
  const all = answers.flatMap((a) => [a.own, ...a.frontier]);
  const most = largest(all.map((p) => p.cost), 1e-9) * 1.08;
  const least = Math.floor(Math.min(...all.map((p) => p.good), 99) / 10) * 10;
  const x = (c) => box.left + (c / most) * (box.width - box.left - box.right);
  const y = (g) => box.top + ((100 - Math.min(g, 100)) / (100 - least)) * (box.height - box.top - box.bottom);
  const svg = element('svg', { viewBox: `0 0 ${box.width} ${box.height}`, role: 'img', 'aria-label': 'Good answers in per cent against cost; the table below has the numbers' });
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const g = least + (100 - least) * part;
    svg.append(element('svg:line', { x1: box.left, x2: box.width - box.right, y1: y(g), y2: y(g), class: 'axis' }));
    const good = element('svg:text', { x: box.left - 6, y: y(g) + 4, 'text-anchor': 'end' });
    good.textContent = `${short(g)} %`;
    svg.append(good);
  }
  for (const value of ticks(most)) {
    const cost = element('svg:text', { x: x(value), y: box.height - 22, 'text-anchor': 'middle' });
    cost.textContent = short(value);
    svg.append(cost);
  }
  const axis = element('svg:text', { x: box.width / 2, y: box.height - 4, 'text-anchor': 'middle' });
  axis.textContent = 'cost of the whole load';
  svg.append(axis);
  const rows = [];
  answers.forEach((answer, i) => {
    const { kind, name, dash, mark: shape } = ARMS[i];
    const line = answer.frontier.map((p) => `${x(p.cost).toFixed(1)} ${y(p.good).toFixed(1)}`);
    svg.append(element('svg:path', { d: `M${line.join('L')}`, fill: 'none', stroke: `var(--${kind})`, 'stroke-width': 2, 'stroke-dasharray': dash }));
    for (const p of answer.frontier) svg.append(mark(shape, x(p.cost), y(p.good), 3.5, kind));
    const { own } = answer;
    const [up, aside] = [error(kind, 'good', own.good), error(kind, 'cost', own.cost)];
    const bar = { stroke: `var(--${kind})`, 'stroke-width': 1.5 };
    if (up !== null) {
      svg.append(element('svg:line', { x1: x(own.cost), x2: x(own.cost), y1: y(own.good + up), y2: y(Math.max(own.good - up, least)), ...bar }),
        element('svg:line', { x1: x(own.cost - aside), x2: x(own.cost + aside), y1: y(own.good), y2: y(own.good), ...bar }));
    }
    svg.append(mark(shape, x(own.cost), y(own.good), 7, kind));
    for (const p of answer.frontier) {
      const changed = Object.entries(p.values).filter(([key, value]) => state.values[kind][key] !== value).map(([key, value]) => `${key} ${value}`).join(', ') || 'as set above';
      const button = element('button', { type: 'button' }, 'Apply');
      button.addEventListener('click', () => { state.values[kind] = { ...state.values[kind], ...p.values }; drawForms(); simulateSoon(); });
      rows.push(element('tr', {}, element('th', { scope: 'row' }, name), withError(kind, 'good', p.good, ' %'), withError(kind, 'cost', p.cost), element('td', {}, button), element('td', { style: 'text-align:left;white-space:normal' }, changed)));
    }
  });
  legend(svg, box.left, box.width);
  $('frontier-section').hidden = false;
  $('frontier-old').hidden = true;
  $('frontier').replaceChildren(svg);
  const heads = ['autoscaler', 'good answers', 'cost', 'settings', 'changed'].map((h) => element('th', { scope: 'col' }, h));
  $('found').replaceChildren(element('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Found settings, scrolls sideways' },
    element('table', {}, element('thead', {}, element('tr', {}, ...heads)), element('tbody', {}, ...rows))));
}

// ---- files ----

async function exportFiles() {
  const kind = $('export-kind').value;
  $('export').replaceChildren();
  if (!checked(true)) {
    $('export').replaceChildren(element('p', { class: 'wrong' }, $('status').textContent));
    return;
  }
  try {
    const { files } = await reader.ask({ ask: 'export', kind, values: state.values[kind] });
    $('export').replaceChildren(...Object.entries(files).flatMap(([path, text]) => [
      element('p', {}, element('code', {}, path)), element('pre', { tabindex: 0, 'data-path': path }, text)]));
  } catch (problem) {
    $('export').replaceChildren(element('p', { class: 'wrong' }, problem.message));
  }
}

async function importText() {
  const said = $('import-said');
  try {
    const { kind, values, notes } = await reader.ask({ ask: 'import', text: $('import').value });
    state.values[kind] = values;
    drawForms();
    said.textContent = [`Applied to the settings of ${ARMS.find((a) => a.kind === kind).name}.`, ...notes.map((note) => `Note: ${note}.`)].join(' ');
    said.className = '';
    simulateSoon();
  } catch (problem) {
    said.textContent = problem.message;
    said.className = 'wrong';
  }
}

function trustText() {
  if (!ERRORS) return 'This build contains no deviations from recorded runs.';
  const { autoscalers, about } = ERRORS;
  const parts = Object.entries(autoscalers).map(([kind, e]) => `${ARMS.find((a) => a.kind === kind).name} (${e.groups} groups of runs): good answers ${short(e.good_points)} points, ready pods ${short(e.pods_percent)} %, p99 ${short(e.p99_percent)} %, cost ${short(e.cost_percent)} %`);
  return `${about} Mean deviation from them: ${parts.join('; ')}. ± ? means that no run of that autoscaler was recorded. The deviation can be larger for other loads, pods and nodes.`;
}

// ---- begin ----

async function begin() {
  const packed = Uint8Array.from(atob(WASM), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const module = await WebAssembly.compile(await new Response(stream).arrayBuffer());
  simulators = ARMS.map(() => new Simulator(module));
  reader = new Simulator(module);
  const [known, kinds] = await Promise.all([reader.ask({ ask: 'scenarios' }), reader.ask({ ask: 'fields' })]);
  scenarios = known.scenarios;
  fields = Object.fromEntries(kinds.kinds.map((k) => [k.kind, k.fields]));
  $('shape').replaceChildren(...scenarios.map((s) => element('option', { value: s.name }, s.title)), element('option', { value: DRAWN }, 'Draw a curve'), element('option', { value: TRACE }, 'A CSV of requests'));
  $('export-kind').replaceChildren(...ARMS.map((a) => element('option', { value: a.kind }, a.name)));
  $('trust-text').textContent = trustText();
  restore(location.hash);
  drawForms();

  $('shape').addEventListener('change', () => { state.shape = $('shape').value; drawLoad(); simulateSoon(); });
  for (const id of ['scale', 'stretch', 'seed']) $(id).addEventListener('change', () => {
    if (Number.isFinite($(id).valueAsNumber)) state[id] = $(id).valueAsNumber;
    if ($(id).validity.valid) drawLoad();
    simulateSoon();
  });
  $('points').addEventListener('change', () => {
    const points = $('points').value.trim().split('\n').map((line) => line.trim().split(/[\s,;]+/).map(Number));
    if (points.length < 2 || points.some((p) => p.length !== 2 || p.some((n) => !Number.isFinite(n)))) {
      $('points').setCustomValidity('Enter at least two lines, each with a time in seconds and a rate.');
      simulateSoon();
      return;
    }
    $('points').setCustomValidity('');
    state.points = points;
    drawLoad();
    simulateSoon();
  });
  $('curve').addEventListener('dblclick', (event) => {
    if (!drawn()) return;
    const [s, r] = at(event);
    state.points.push([Math.max(0, Math.round(s)), Math.max(0, Math.round(r * 10) / 10)]);
    state.points.sort((a, b) => a[0] - b[0]);
    drawLoad();
    simulateSoon();
  });
  $('file').addEventListener('change', () => { if ($('file').files[0]) takeFile($('file').files[0]); });
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]); });
  $('form').addEventListener('submit', (event) => { event.preventDefault(); simulate(true); });
  $('frontier-button').addEventListener('click', searchFrontier);
  $('export-button').addEventListener('click', exportFiles);
  $('import-button').addEventListener('click', importText);
  $('share').addEventListener('click', async () => {
    if (!checked(true)) return;
    history.replaceState(null, '', address());
    if (drawn() && decode(address().slice(1)).p === undefined) { say('The curve is too long for an address. Keep its points in a file.', true); return; }
    try { await navigator.clipboard.writeText(location.href); say('The address was copied to the clipboard.'); } catch { say('The address could not be copied. The address bar contains it.'); }
  });
  window.addEventListener('hashchange', () => { restore(location.hash); drawForms(); simulate(); });
  await simulate();
}

begin().catch((problem) => say(`This browser cannot run the simulator: ${problem.message}`, true));
