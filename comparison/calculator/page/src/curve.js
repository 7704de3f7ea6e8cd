// The load's curve, which is drawn by pointer and keyboard.

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
