// The settings, and their address.

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
