// Runs simulations and searches.

let soon = 0;
// Counts the changes of the settings. An answer asked for before a change is of earlier settings.
let edits = 0;

// The YAML and the frontier are of earlier settings now. The caller ends or replaces what runs.
function invalidate() {
  edits++;
  clearTimeout(soon);
  $('export').replaceChildren();
  $('frontier-old').hidden = false;
}

function simulateSoon() {
  invalidate();
  notice('');
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

async function searchFrontier() {
  clearTimeout(soon);
  if (!checked(true)) return;
  const run = ++runs;
  for (const simulator of simulators) simulator.stop('');
  let refused = null;
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
    if (run !== runs) return;
    refused = problem;
    say(problem.message, true);
  }
  if (!$('results').classList.contains('old')) return;
  // The search took the place of a simulation.
  await simulate();
  if (refused && runs === run + 1) say(refused.message, true);
}
