// The table, the charts and the frontier.

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

function drawCharts() {
  const of = (key, width) => results.map((r) => ({ values: r[key], width: r[width], length: r[key].length }));
  $('charts').replaceChildren(
    chart('Ready pods', 'pods', of('pods', 'bin_s')),
    chart('Latency, 99th percentile', 'ms', of('p99', 'latency_bin_s')),
    chart('Not answered in time', '%', of('misses', 'bin_s')),
    chart('Cost', 'per hour', of('price', 'bin_s')));
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
