// Files and texts: loads, exports and imports.

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

async function exportFiles() {
  const kind = $('export-kind').value;
  $('export').replaceChildren();
  if (!checked(true)) {
    $('export').replaceChildren(element('p', { class: 'wrong' }, $('status').textContent));
    return;
  }
  const asked = edits;
  try {
    const { files } = await reader.ask({ ask: 'export', kind, values: state.values[kind] });
    if (asked !== edits) return;
    $('export').replaceChildren(...Object.entries(files).flatMap(([path, text]) => [
      element('p', {}, element('code', {}, path)), element('pre', { tabindex: 0, 'data-path': path }, text)]));
  } catch (problem) {
    if (asked === edits) $('export').replaceChildren(element('p', { class: 'wrong' }, problem.message));
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
