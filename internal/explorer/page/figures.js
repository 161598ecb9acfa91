// Figures to take away: SVG and PNG for papers, CSV for the numbers.

import { h, number } from './dom.js';

const ms = 10;

/** @typedef {import('./charts.js').LineFigure} LineFigure */

/** @param {string} name @param {Blob} content */
export function save(name, content) {
  const address = URL.createObjectURL(content);
  const link = h('a', { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @param {string} text */
const escape = (text) =>
  text.replace(
    /[&<>"]/g,
    (c) => /** @type {Record<string, string>} */ ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c],
  );

/** @param {number} width @param {number} height @param {string} title @param {string} body */
function svg(width, height, title, body) {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="12">` +
    `<title>${escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>${body}</svg>`
  );
}

/** Numbers on an axis. @param {number} low @param {number} high @param {number} about how many */
function ticks(low, high, about) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10);
  const list = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step)
    list.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return list;
}

/** A colour of the page that shows on white, too. */
const printed = ['#0b62c4', '#b35900', '#00795a', '#b0246e', '#6a45b8', '#6f6a00', '#51606f', '#a63a1e'];

/** Curves as SVG, on white. @param {LineFigure} figure */
export function lines(figure) {
  const [width, left, right, top, plot] = [560, 64, 16, 34, 240];
  const legend = figure.curves.length;
  const height = top + plot + 46 + 16 * Math.ceil(legend / 2);
  const values = figure.curves.flatMap((c) => c.values).filter((v) => v !== null);
  let low = figure.low ?? Math.min(...values);
  let high = figure.high ?? Math.max(...values);
  if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
  const x = (/** @type {number} */ t) => left + ((width - left - right) * t) / figure.times;
  const y = (/** @type {number} */ v) => top + plot - (plot * (v - low)) / (high - low);
  const parts = [`<text x="${left}" y="20" font-size="14" font-weight="bold">${escape(figure.title)}</text>`];
  for (const s of figure.spans ?? [])
    parts.push(`<rect x="${x(s.from)}" y="${top}" width="${x(s.to) - x(s.from)}" height="${plot}" fill="#eef1f5"/>`);
  for (const v of ticks(low, high, 5)) {
    parts.push(
      `<line x1="${left}" x2="${width - right}" y1="${y(v)}" y2="${y(v)}" stroke="#dde1e6"/>`,
      `<text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${number(v)}</text>`,
    );
  }
  for (const t of ticks(0, figure.times, 8))
    if (Number.isInteger(t))
      parts.push(`<text x="${x(t)}" y="${top + plot + 16}" text-anchor="middle">${t * ms}</text>`);
  parts.push(
    `<line x1="${left}" x2="${width - right}" y1="${top + plot}" y2="${top + plot}" stroke="#444"/>`,
    `<text x="${(left + width - right) / 2}" y="${top + plot + 34}" text-anchor="middle">time (ms)</text>`,
    `<text transform="translate(14 ${top + plot / 2}) rotate(-90)" text-anchor="middle">${escape(figure.unit)}</text>`,
  );
  for (const m of figure.marks ?? []) {
    parts.push(
      `<line x1="${x(m.time)}" x2="${x(m.time)}" y1="${top}" y2="${top + plot}" stroke="#444" stroke-dasharray="3 3"/>`,
      m.time > figure.times * 0.8
        ? `<text x="${x(m.time) - 4}" y="${top + 12}" text-anchor="end">${escape(m.label)}</text>`
        : `<text x="${x(m.time) + 4}" y="${top + 12}">${escape(m.label)}</text>`,
    );
  }
  figure.curves.forEach((c, i) => {
    const stroke = printed[i % printed.length];
    let path = '';
    let pen = 'M';
    c.values.forEach((v, t) => {
      if (v === null || v === undefined) {
        pen = 'M';
        return;
      }
      path += `${pen}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = 'L';
    });
    const [lx, ly] = [left + (i % 2) * 240, top + plot + 52 + 16 * Math.floor(i / 2)];
    const dash = c.dash ? ` stroke-dasharray="${c.dash.join(' ')}"` : '';
    parts.push(
      `<path d="${path}" fill="none" stroke="${stroke}" stroke-width="2"${dash}/>`,
      `<line x1="${lx}" x2="${lx + 20}" y1="${ly - 4}" y2="${ly - 4}" stroke="${stroke}" stroke-width="2"${dash}/>`,
      `<text x="${lx + 26}" y="${ly}">${escape(c.label)}</text>`,
    );
  });
  return svg(width, height, figure.title, parts.join(''));
}

/**
 * Pictures below each other, as SVG.
 * @param {string} title
 * @param {{label: string, address: string, width: number, height: number}[]} strips
 * @param {string[]} notes
 */
export function pictures(title, strips, notes) {
  const width = Math.max(320, ...strips.map((s) => s.width)) + 32;
  let y = 34;
  const parts = [`<text x="16" y="22" font-size="14" font-weight="bold">${escape(title)}</text>`];
  for (const s of strips) {
    if (s.label) parts.push(`<text x="16" y="${y + 12}">${escape(s.label)}</text>`);
    y += s.label ? 18 : 0;
    parts.push(
      `<image x="16" y="${y}" width="${s.width}" height="${s.height}" href="${s.address}" image-rendering="pixelated"/>`,
    );
    y += s.height + 12;
  }
  for (const note of notes) {
    parts.push(`<text x="16" y="${y + 8}" fill="#555">${escape(note)}</text>`);
    y += 16;
  }
  return svg(width, y + 6, title, parts.join(''));
}

/**
 * A table of colours, layers by time, as SVG.
 * @param {{title: string, times: number, rows: {label: string, values: (number|null)[]}[], colour: (v: number|null)
 *   => string}} figure
 */
export function heat(figure) {
  const [left, top, high, wide] = [74, 34, 22, 18];
  const width = left + figure.times * wide + 16;
  const height = top + figure.rows.length * high + 44;
  const parts = [`<text x="16" y="20" font-size="14" font-weight="bold">${escape(figure.title)}</text>`];
  figure.rows.forEach((row, i) => {
    parts.push(`<text x="${left - 6}" y="${top + i * high + 15}" text-anchor="end">${escape(row.label)}</text>`);
    row.values.forEach((v, t) =>
      parts.push(
        `<rect x="${left + t * wide}" y="${top + i * high}" width="${wide - 1}" height="${high - 1}" fill="${figure.colour(v)}"/>`,
      ),
    );
  });
  for (const t of ticks(0, figure.times, 8))
    if (Number.isInteger(t))
      parts.push(
        `<text x="${left + t * wide}" y="${top + figure.rows.length * high + 14}" text-anchor="middle">${t * ms}</text>`,
      );
  parts.push(`<text x="${(left + width) / 2}" y="${height - 10}" text-anchor="middle">time (ms)</text>`);
  return svg(width, height, figure.title, parts.join(''));
}

/** @param {string} text of an SVG @returns {Promise<Blob>} a PNG, twice as large */
async function png(text) {
  const address = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = h('canvas', { width: image.width * 2, height: image.height * 2 });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((b) => (b ? resolve(b) : reject(new Error('no picture'))), 'image/png'),
    );
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** @param {(string|number|null)[][]} rows */
export function csv(rows) {
  return (
    rows
      .map((row) =>
        row
          .map((v) =>
            v === null || v === undefined
              ? ''
              : typeof v === 'number'
                ? String(v)
                : /[",\n]/.test(v)
                  ? `"${v.replaceAll('"', '""')}"`
                  : v,
          )
          .join(','),
      )
      .join('\r\n') + '\r\n'
  );
}

/** @param {LineFigure} figure the curves as a table */
export function table(figure) {
  return csv([
    ['timestep', 'ms', ...figure.curves.map((c) => c.label)],
    ...Array.from({ length: figure.times }, (_, t) => [t, t * ms, ...figure.curves.map((c) => c.values[t] ?? null)]),
  ]);
}

/**
 * Buttons that save a figure.
 * @param {string} what the figure is, for who hears the buttons
 * @param {{name: () => string, svg?: () => string, csv?: () => string}} figure
 */
export function buttons(what, figure) {
  const button = (/** @type {string} */ kind, /** @type {() => void|Promise<void>} */ act) =>
    h('button', { type: 'button', class: 'small', 'aria-label': `${what} as ${kind}`, onclick: act }, kind);
  return h(
    'span',
    { class: 'save' },
    figure.svg &&
      button('PNG', async () => save(`${figure.name()}.png`, await png(/** @type {() => string} */ (figure.svg)()))),
    figure.svg &&
      button('SVG', () =>
        save(`${figure.name()}.svg`, new Blob([/** @type {() => string} */ (figure.svg)()], { type: 'image/svg+xml' })),
      ),
    figure.csv &&
      button('CSV', () =>
        save(`${figure.name()}.csv`, new Blob([/** @type {() => string} */ (figure.csv)()], { type: 'text/csv' })),
      ),
  );
}
