// Parts of charts, and a chart with a line for each autoscaler.

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
function chart(title, unit, series) {
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
