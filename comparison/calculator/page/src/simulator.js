// The simulator, one worker for each autoscaler.

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
