// Colours of feature maps. Zero has the colour of the page's ground, in light and dark.

import { h } from './dom.js';

/** @typedef {[number, number, number]} RGB */

/** @type {Record<string, {ground: RGB, above: RGB[], below: RGB[]}>} */
const palettes = {
  dark: {
    ground: [13, 17, 23],
    above: [
      [92, 38, 20],
      [196, 78, 20],
      [255, 160, 60],
      [255, 236, 190],
    ],
    below: [
      [14, 52, 66],
      [16, 110, 128],
      [66, 190, 200],
      [200, 248, 248],
    ],
  },
  light: {
    ground: [255, 255, 255],
    above: [
      [254, 217, 166],
      [244, 148, 60],
      [190, 70, 12],
      [92, 24, 6],
    ],
    below: [
      [190, 230, 232],
      [92, 180, 190],
      [16, 112, 130],
      [4, 48, 62],
    ],
  },
};
/** Of differences: above zero A is greater, below it B. @type {typeof palettes} */
const differences = {
  dark: {
    ground: [13, 17, 23],
    above: [
      [20, 50, 96],
      [40, 104, 190],
      [104, 170, 255],
      [214, 234, 255],
    ],
    below: [
      [84, 30, 62],
      [176, 52, 120],
      [240, 120, 186],
      [255, 222, 240],
    ],
  },
  light: {
    ground: [255, 255, 255],
    above: [
      [196, 220, 250],
      [104, 162, 236],
      [28, 92, 190],
      [8, 34, 88],
    ],
    below: [
      [250, 206, 230],
      [232, 122, 184],
      [170, 36, 112],
      [78, 8, 48],
    ],
  },
};

/** @param {RGB[]} stops @param {number} at from 0 to 1 @returns {RGB} */
function between(stops, at) {
  const place = Math.min(at, 1) * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  const f = place - i;
  return /** @type {RGB} */ (stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * f)));
}

/**
 * The colours of the 256 bytes of maps, as pixels of a canvas, red in the lowest byte.
 * @param {number} zero the byte that stands for zero @param {boolean} dark @param {boolean} difference
 */
export function lookup(zero, dark, difference) {
  const palette = (difference ? differences : palettes)[dark ? 'dark' : 'light'];
  const table = new Uint32Array(256);
  for (let q = 0; q < 256; q++) {
    const highest = zero > 0 ? 127 : 255;
    const share = Math.min(1, Math.abs(q - zero) / highest);
    const [r, g, b] = between([palette.ground, ...(q < zero ? palette.below : palette.above)], share);
    table[q] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return table;
}

/** The colour of a correlation, −1 … 1. @param {number|null} value @param {boolean} dark */
export function correlationColour(value, dark) {
  if (value === null) return dark ? '#30363d' : '#e3e6ea';
  const palette = dark ? palettes.dark : palettes.light;
  const [r, g, b] = between([palette.ground, ...(value < 0 ? palette.below : palette.above)], Math.abs(value));
  return `rgb(${r}, ${g}, ${b})`;
}

/** Colours of curves that are told apart, also by who sees few colours. @param {boolean} dark */
export function curveColours(dark) {
  return dark
    ? ['#6cb6ff', '#ffb454', '#56d4a0', '#f78fb3', '#c4a7f7', '#e8e36c', '#9fb3c8', '#ff8f73']
    : ['#0b62c4', '#b35900', '#00795a', '#b0246e', '#6a45b8', '#6f6a00', '#51606f', '#a63a1e'];
}

/** A bar of colours for a legend. @param {(share: number) => string} colour of the share of the bar, from 0 to 1 */
export function scaleBar(colour) {
  const bar = h('i', { class: 'scale-bar' });
  bar.style.backgroundImage = `linear-gradient(to right, ${Array.from({ length: 17 }, (_, i) => colour(i / 16)).join(', ')})`;
  return bar;
}

/** A bar of the colours of maps. @param {number} zero @param {boolean} dark @param {boolean} difference */
export function mapBar(zero, dark, difference) {
  const table = lookup(zero, dark, difference);
  return scaleBar((share) => {
    const pixel = table[Math.round(zero > 0 ? share * 254 : share * 255)];
    return `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
  });
}
