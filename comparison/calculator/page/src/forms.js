// The forms of pods and settings.

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
  const burst = field('kpa', 'target-burst-capacity');
  burst.setCustomValidity(burst.valueAsNumber > -1 && burst.valueAsNumber < 0 ? `${burst.value} is neither -1 nor at least 0.` : '');
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
