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
