// What the page asks the server for.

/**
 * @typedef {{times: number, episodes: [number, number][], blank: string}} Presentation
 * @typedef {{name: string, title: string, times: number, episodes: [number, number][]}} Preset
 * @typedef {{name: string, shape: number[], areas: string[]|null, driven_after: number}} LayerInfo
 * @typedef {{name: string, beta: number, threshold: number, first_timestep: number}} Decoder
 * @typedef {{name: string, cell: string, depth: string, weights: string, untrained: boolean, times: number, top1:
 *   number,
 *   decoder: Decoder, layers: LayerInfo[], presets: Preset[]}} Model
 * @typedef {{file: string, title: string, about: string, source: string}} BuiltIn
 * @typedef {{models: Model[], pictures: BuiltIn[], milliseconds_per_timestep: number, max_picture_bytes: number}} About
 * @typedef {{key: string, name: string, about: string, file: Blob, url: string, remarks: string[]}} Picture
 * @typedef {{layer: string, mean: number[], deviation: number[], least: number, greatest: number}} LayerSummary
 * @typedef {{index: number, probability: number}} Class
 * @typedef {{index: number, name: string, names: string, wordnet_id: string, probabilities: number[]}} ClassCurve
 * @typedef {{decoder: string, timestep: number|null, driven: boolean, confidence?: number, threshold?: number,
 *   reached: boolean,
 *   classes: Class[], names: string[]}} Decision
 * @typedef {{name: string, shape: number[], driven_from: number|null}} LayerPlan
 * @typedef {{run: string, model: string, untrained: boolean, presentation: string, times: number, schedule: number[],
 *   layers: LayerPlan[]}} Plan
 * @typedef {{id: string, plan: Plan, layers: Map<string, LayerSummary>, classes: {top: Class[][], curves:
 *   ClassCurve[]}|null,
 *   decision: Decision|null, seconds: number}} Run
 * @typedef {{part: string, zero: number, steps: number[], clipped: number, bytes: Uint8Array}} MapPart
 * @typedef {{layer: string, times: number, height: number, width: number, channels: number[], of: number, parts:
 *   MapPart[]}} Maps
 */

const base = new URL('explorer/', document.baseURI);

/** Whether a run has all timesteps of a layer. @param {Run|null} run @param {string} layer */
export function hasLayer(run, layer) {
  return !!run && run.layers.get(layer)?.mean.length === run.plan.times;
}

/** How much of a run is there, 0 … 1. @param {Run|null} run */
export function share(run) {
  if (!run?.plan.times) return 0;
  let had = 0;
  for (const l of run.layers.values()) had += l.mean.length;
  return had / (run.plan.times * run.plan.layers.length);
}

/** An answer that says what is wrong. */
export class Refusal extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** @param {string} path @param {RequestInit} [options] */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, base), options);
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    throw new Refusal('The server cannot be reached. Does it still run?', 0);
  }
  if (response.ok) return response;
  let message = `The server answers ${response.status} ${response.statusText}.`;
  try {
    message = sentence((await response.json()).error);
  } catch {
    /* the answer is of a proxy between */
  }
  throw new Refusal(message, response.status);
}

/** @param {string} text */
export function sentence(text) {
  // Names of files stay as they are.
  const s = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(s) ? s : s + '.';
}

/** @returns {Promise<About>} */
export async function about() {
  return (await ask('models')).json();
}

/** @param {BuiltIn} picture @returns {Promise<Picture>} */
export async function builtIn(picture) {
  const file = await (await ask(`pictures/${picture.file}`)).blob();
  return {
    key: picture.title,
    name: picture.title,
    about: picture.about,
    file,
    url: URL.createObjectURL(file),
    remarks: [],
  };
}

let uploads = 0;

/** What the models see of a picture file. @param {File} file @returns {Promise<Picture>} */
export async function preview(file) {
  const name = file.name || 'pasted.png';
  const response = await ask(`preview?name=${encodeURIComponent(name)}`, {
    method: 'POST',
    body: file,
    headers: { 'Content-Type': file.type || 'application/octet-stream' },
  });
  const info = JSON.parse(JSON.parse(response.headers.get('Picture-Info') || '"{}"'));
  const seen = await response.blob();
  return {
    key: `${name}#${++uploads}`,
    name,
    about: `${info.format}, ${info.width} × ${info.height}`,
    file: seen,
    url: URL.createObjectURL(seen),
    remarks: info.remarks.map(sentence),
  };
}

/**
 * Computes a run. The callback is called when something of it has come: a layer comes again with every timestep that
 *   is computed.
 * @param {string} model @param {Picture} picture @param {Presentation} presentation
 * @param {(run: Run, event: string, data: any) => void} progress @param {AbortSignal} signal
 * @returns {Promise<Run>}
 */
export async function respond(model, picture, presentation, progress, signal) {
  const form = new FormData();
  form.append('request', JSON.stringify({ model, presentation, name: picture.name }));
  form.append('picture', picture.file, 'picture.png');
  const response = await ask('respond', { method: 'POST', body: form, signal });
  /** @type {Run} */
  const run = {
    id: '',
    plan: { run: '', model, untrained: false, presentation: '', times: 0, schedule: [], layers: [] },
    layers: new Map(),
    classes: null,
    decision: null,
    seconds: 0,
  };
  if (!response.body) throw new Refusal('This browser cannot read answers as they come.', 0);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  let whole = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const event = lines.find((l) => l.startsWith('event: '))?.slice(7);
      const data = lines.find((l) => l.startsWith('data: '))?.slice(6);
      if (!event || !data) continue;
      const content = JSON.parse(data);
      switch (event) {
        case 'run':
          run.plan = content;
          run.id = content.run;
          break;
        case 'layer':
          run.layers.set(content.layer, content);
          break;
        case 'classes':
          run.classes = content;
          break;
        case 'decision':
          run.decision = content;
          break;
        case 'done':
          whole = true;
          run.seconds = content.seconds;
          break;
        case 'error':
          throw new Refusal(sentence(content.error), content.status);
      }
      progress(run, event, content);
    }
  }
  if (!whole) throw new Refusal('The server ended before it had computed everything.', 0);
  return run;
}

/**
 * @param {string} run @param {string|null} other @param {string} layer
 * @param {{count: number, order: string, scale: string}} how @param {AbortSignal} signal
 * @returns {Promise<Maps>}
 */
export async function maps(run, other, layer, how, signal) {
  const query = new URLSearchParams({ layer, count: String(how.count), order: how.order, scale: how.scale });
  if (other) query.set('other', other);
  const data = await (await ask(`runs/${run}/maps?${query}`, { signal })).arrayBuffer();
  const length = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const size = head.times * head.channels.length * head.height * head.width;
  head.parts.forEach((/** @type {MapPart} */ part, /** @type {number} */ i) => {
    part.bytes = new Uint8Array(data, 4 + length + i * size, size);
  });
  return head;
}

/**
 * @param {string} run
 * @param {{layer: string, channel: number, row: number, column: number}} unit
 * @returns {Promise<number[]>}
 */
export async function unit(run, unit) {
  const query = new URLSearchParams({
    layer: unit.layer,
    channel: String(unit.channel),
    row: String(unit.row),
    column: String(unit.column),
  });
  return (await (await ask(`runs/${run}/unit?${query}`)).json()).values;
}

/**
 * @typedef {{layer: string, of: string, correlation: (number|null)[], difference: (number|null)[]}} Likeness
 * @param {string} run @param {string} other @returns {Promise<{times: number, layers: Likeness[]}>}
 */
export async function similarity(run, other) {
  return (await ask(`runs/${run}/similarity?other=${other}`)).json();
}

/** @param {string} run @returns {Promise<{command: string, program: string, picture: string}>} */
export async function recipe(run) {
  return (await ask(`runs/${run}/recipe`)).json();
}

/** @param {string} run @returns {string} */
export function npzAddress(run) {
  return new URL(`runs/${run}/features.npz`, base).href;
}
