// Feature maps of a layer at a timestep, drawn from bytes that came for all timesteps at once.

import { h } from './dom.js';
import { lookup } from './colours.js';

/** @typedef {import('./api.js').Maps} Maps */
/** @typedef {import('./api.js').MapPart} MapPart */
/** @typedef {{channel: number, row: number, column: number, index: number}} Place a unit, and the map it is in */

/** Pixels of a map on the page. Every layer's size divides it and what is a multiple of it. */
export const side = 56;
const gap = 4;

/**
 * Draws a part of maps as pixels.
 * @param {Uint32Array} pixels
 * @param {number} width
 * @param {Maps} maps
 * @param {MapPart} part
 * @param {number} time
 * @param {Uint32Array} table
 * @param {number} columns
 * @param {number} side
 */
function paint(pixels, width, maps, part, time, table, columns, side) {
  const { height: rows, width: across, channels } = maps;
  const scale = Math.max(1, Math.floor(side / rows));
  const bytes = part.bytes;
  let from = time * channels.length * rows * across;
  for (let i = 0; i < channels.length; i++) {
    const left = (i % columns) * (side + gap);
    const top = Math.floor(i / columns) * (side + gap);
    for (let y = 0; y < rows; y++) {
      const line = (top + y * scale) * width + left;
      let to = line;
      if (scale === 1) {
        for (let x = 0; x < across; x++) pixels[to++] = table[bytes[from++]];
      } else {
        for (let x = 0; x < across; x++) {
          const colour = table[bytes[from++]];
          for (let k = 0; k < scale; k++) pixels[to++] = colour;
        }
        for (let k = 1; k < scale; k++) pixels.copyWithin(line + k * width, line, to);
      }
    }
  }
}

/** A strip of maps: one part of a layer. */
export class MapStrip {
  /**
   * @param {string} label
   * @param {{hover: (strip: MapStrip, place: Place|null, event: PointerEvent|null) => void, pin: (strip: MapStrip,
   *   place: Place) => void}} on
   * @param {number} size pixels of a map, a multiple of side
   */
  constructor(label, on, size) {
    this.side = size;
    this.canvas = h('canvas', { class: 'maps', role: 'img' });
    this.label = h('span', { class: 'strip-label' }, label);
    this.marks = h('div', { class: 'marks' });
    this.box = h('div', { class: 'map-box' }, this.canvas, this.marks);
    this.element = h('div', { class: 'strip' }, this.label, this.box);
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d'));
    /** @type {Maps|null} */
    this.maps = null;
    /** @type {MapPart|null} */
    this.part = null;
    this.columns = 0;
    this.time = -1;
    this.dark = false;
    /** @type {ImageData|null} */
    this.image = null;
    this.canvas.addEventListener('pointermove', (e) => on.hover(this, this.place(e), e));
    this.canvas.addEventListener('pointerleave', () => on.hover(this, null, null));
    this.canvas.addEventListener('click', (e) => {
      const place = this.place(e);
      if (place) on.pin(this, place);
    });
  }

  /** @param {Maps|null} maps @param {MapPart|null} part @param {boolean} dark */
  set(maps, part, dark) {
    this.maps = maps;
    this.part = part;
    this.dark = dark;
    this.element.classList.toggle('empty', !part);
    if (part) this.table = lookup(part.zero, dark, part.part === 'difference');
    this.image = null;
    this.layout();
  }

  /** How many maps stand in a line, beside a label or without one. @param {boolean} labelled */
  room(labelled) {
    const width = (this.element.parentElement?.clientWidth ?? 800) - (labelled ? 46 : 0);
    return Math.max(1, Math.floor((width + gap) / (this.side + gap)));
  }

  /** Draws one map, large. @param {HTMLCanvasElement} canvas @param {Place} place */
  enlarge(canvas, place) {
    const { image, maps } = this;
    if (!image || !maps) return;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.imageSmoothingEnabled = false;
    context.drawImage(
      this.canvas,
      (place.index % this.columns) * (this.side + gap),
      Math.floor(place.index / this.columns) * (this.side + gap),
      this.side,
      this.side,
      0,
      0,
      canvas.width,
      canvas.height,
    );
    const size = canvas.width / maps.width;
    context.strokeStyle = '#fff';
    context.lineWidth = 1;
    context.globalCompositeOperation = 'difference';
    context.strokeRect(place.column * size + 0.5, place.row * size + 0.5, Math.max(size - 1, 3), Math.max(size - 1, 3));
    context.globalCompositeOperation = 'source-over';
  }

  /** Fits the columns to the width that there is. */
  layout() {
    const { maps } = this;
    if (!maps) return;
    const room = this.box.clientWidth || 800;
    const columns = Math.max(1, Math.min(maps.channels.length, Math.floor((room + gap) / (this.side + gap))));
    if (this.image && columns === this.columns) return;
    this.columns = columns;
    const rows = Math.ceil(maps.channels.length / columns);
    const width = columns * (this.side + gap) - gap;
    const height = rows * (this.side + gap) - gap;
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.time = -1;
  }

  /** @param {number} time */
  draw(time) {
    const { maps, part, image, pixels, table } = this;
    if (!maps || !part || !image || !pixels || !table) return;
    const shown = Math.min(time, maps.times - 1);
    if (shown === this.time) return;
    this.time = shown;
    paint(pixels, image.width, maps, part, shown, table, this.columns, this.side);
    this.context.putImageData(image, 0, 0);
  }

  /** The unit below a pointer. @param {MouseEvent} event @returns {Place|null} */
  place(event) {
    const { maps } = this;
    if (!maps) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const index = Math.floor(y / (this.side + gap)) * this.columns + Math.floor(x / (this.side + gap));
    const column = Math.floor(((x % (this.side + gap)) / this.side) * maps.width);
    const row = Math.floor(((y % (this.side + gap)) / this.side) * maps.height);
    if (
      index < 0 ||
      index >= maps.channels.length ||
      column >= maps.width ||
      row >= maps.height ||
      column < 0 ||
      row < 0
    )
      return null;
    return { channel: maps.channels[index], row, column, index };
  }

  /** The value drawn at a place, as exact as it is drawn. @param {Place} place */
  value(place) {
    const { maps, part } = this;
    if (!maps || !part) return NaN;
    const { height, width, channels } = maps;
    const t = Math.max(0, this.time);
    const q = part.bytes[((t * channels.length + place.index) * height + place.row) * width + place.column];
    return (q - part.zero) * part.steps[place.index];
  }

  /** Marks units. @param {{channel: number, row: number, column: number, stroke: string}[]} units */
  mark(units) {
    const { maps } = this;
    this.marks.replaceChildren();
    if (!maps) return;
    const scale = this.side / maps.height;
    for (const u of units) {
      const index = maps.channels.indexOf(u.channel);
      if (index < 0) continue;
      const mark = h('i');
      const size = Math.max(scale, 5);
      mark.style.left = `${(index % this.columns) * (this.side + gap) + (u.column + 0.5) * scale - size / 2}px`;
      mark.style.top = `${Math.floor(index / this.columns) * (this.side + gap) + (u.row + 0.5) * scale - size / 2}px`;
      mark.style.width = mark.style.height = `${size}px`;
      mark.style.borderColor = u.stroke;
      this.marks.append(mark);
    }
  }

  /**
   * A picture of the strip at the time shown, several times as large.
   * @param {number} scale
   * @returns {string} a data URL
   */
  picture(scale) {
    const large = h('canvas', { width: this.canvas.width * scale, height: this.canvas.height * scale });
    const context = /** @type {CanvasRenderingContext2D} */ (large.getContext('2d'));
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, large.width, large.height);
    return large.toDataURL('image/png');
  }
}
