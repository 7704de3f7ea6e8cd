// Begins, and listens to the page.

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
  window.addEventListener('hashchange', () => { restore(location.hash); drawForms(); invalidate(); simulate(); });
  await simulate();
}

begin().catch((problem) => say(`This browser cannot run the simulator: ${problem.message}`, true));
