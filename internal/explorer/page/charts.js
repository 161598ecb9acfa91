// Curves over time, by uPlot, with a playhead that moves without drawing them again.

import uPlot from './vendor/uplot/uplot.js';
import { colour, h, number } from './dom.js';

const ms = 10;

/**
 * @typedef {{label: string, values: (number|null)[], stroke: string, dash?: number[], width?: number}} Curve
 * @typedef {{from: number, to: number, fill: string}} Span in timesteps
 * @typedef {{title: string, unit: string, times: number, curves: Curve[], spans?: Span[], marks?: {time: number,
 *   label: string, stroke: string}[],
 *   low?: number, high?: number}} LineFigure
 */

export class LineChart {
  /** @param {HTMLElement} host @param {{height: number, small?: boolean, scrub: (time: number) => void}} options */
  constructor(host, options) {
    this.host = host;
    this.options = options;
    /** @type {LineFigure|null} */
    this.figure = null;
    /** @type {uPlot|null} */
    this.plot = null;
    this.width = 0;
    this.time = 0;
    this.drawn = '';
    this.head = h('div', { class: 'head' });
    this.summary = h('p', { class: 'unseen' });
    host.classList.add('chart');
    host.append(this.summary);
    new ResizeObserver(() => {
      const width = Math.floor(host.clientWidth);
      if (width > 0 && width !== this.width) {
        this.width = width;
        if (this.plot) this.plot.setSize({ width, height: options.height });
        else this.draw();
        this.place();
      }
    }).observe(host);
  }

  /** @param {LineFigure|null} figure */
  set(figure) {
    this.figure = figure;
    // Curves that grow are not drawn from nothing: only their values change.
    if (this.plot && figure && frame(figure) === this.drawn) {
      this.plot.setData(data(figure));
      this.summary.textContent = summary(figure);
      this.place();
    } else this.draw();
  }

  draw() {
    const { figure, options } = this;
    this.plot?.destroy();
    this.plot = null;
    if (!figure || !this.width) return;
    this.drawn = frame(figure);
    const ink = colour('--quiet');
    const grid = colour('--line');
    const axis = {
      stroke: ink,
      font: '11px system-ui, sans-serif',
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
    };
    /** @type {uPlot.Options} */
    const settings = {
      width: this.width,
      height: options.height,
      legend: { show: false },
      padding: [8, options.small ? 10 : 20, options.small ? 0 : 4, 0],
      cursor: { show: false },
      scales: {
        x: { time: false, range: [0, figure.times * ms] },
        y: { range: (_, low, high) => range(figure.low ?? low, figure.high ?? high) },
      },
      axes: [
        {
          ...axis,
          size: options.small ? 20 : 26,
          gap: 2,
          space: 44,
          values: (_, list) => list.map((v, i) => (i === list.length - 1 && !options.small ? `${v} ms` : String(v))),
        },
        { ...axis, size: 46, gap: 3, space: options.small ? 22 : 34, values: (_, list) => list.map(number) },
      ],
      series: [
        {},
        ...figure.curves.map((c) => ({
          label: c.label,
          stroke: c.stroke,
          width: c.width ?? 2,
          dash: c.dash,
          points: { show: false },
          spanGaps: false,
        })),
      ],
      hooks: {
        drawClear: [
          (u) => {
            for (const span of figure.spans ?? []) {
              u.ctx.fillStyle = span.fill;
              const left = u.valToPos(span.from * ms, 'x', true);
              u.ctx.fillRect(left, u.bbox.top, u.valToPos(span.to * ms, 'x', true) - left, u.bbox.height);
            }
          },
        ],
        draw: [
          (u) => {
            for (const mark of figure.marks ?? []) {
              const x = u.valToPos(mark.time * ms, 'x', true);
              u.ctx.strokeStyle = mark.stroke;
              u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
              u.ctx.lineWidth = devicePixelRatio;
              u.ctx.beginPath();
              u.ctx.moveTo(x, u.bbox.top);
              u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
              u.ctx.stroke();
              u.ctx.setLineDash([]);
              if (options.small) continue;
              u.ctx.fillStyle = mark.stroke;
              u.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
              u.ctx.textAlign = x > u.bbox.left + u.bbox.width * 0.8 ? 'right' : 'left';
              u.ctx.fillText(
                mark.label,
                x + (u.ctx.textAlign === 'left' ? 4 : -4) * devicePixelRatio,
                u.bbox.top + 10 * devicePixelRatio,
              );
            }
          },
        ],
      },
    };
    this.plot = new uPlot(settings, data(figure), this.host);
    const over = this.plot.over;
    over.append(this.head);
    over.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      over.setPointerCapture(event.pointerId);
      const go = (/** @type {PointerEvent} */ e) => {
        const box = over.getBoundingClientRect();
        options.scrub(Math.round(((e.clientX - box.left) / box.width) * figure.times));
      };
      over.addEventListener('pointermove', go);
      over.addEventListener('lostpointercapture', () => over.removeEventListener('pointermove', go), { once: true });
      go(event);
    });
    this.host.querySelector('canvas')?.setAttribute('aria-hidden', 'true');
    this.summary.textContent = summary(figure);
    this.place();
  }

  /** @param {number} time */
  go(time) {
    this.time = time;
    this.place();
  }

  place() {
    if (!this.plot || !this.figure) return;
    const width = this.plot.bbox.width / devicePixelRatio; // known without a layout
    this.head.style.transform = `translateX(${(width * this.time) / this.figure.times}px)`;
    this.head.hidden = this.time >= this.figure.times;
  }
}

/** All of a drawn figure but the values. @param {LineFigure} figure */
function frame(figure) {
  return JSON.stringify({
    ...figure,
    ink: colour('--quiet'),
    curves: figure.curves.map(({ label, stroke, dash, width }) => [label, stroke, dash, width]),
  });
}

/** @param {LineFigure} figure */
function data(figure) {
  const x = Array.from({ length: figure.times }, (_, t) => t * ms);
  return /** @type {uPlot.AlignedData} */ ([x, ...figure.curves.map((c) => x.map((_, t) => c.values[t] ?? null))]);
}

/** What a figure shows, in words. @param {LineFigure} figure */
function summary(figure) {
  return `${figure.title}: ${figure.curves.map(describe).join('; ') || 'nothing yet'}.`;
}

/** @param {number} low @param {number} high @returns {[number, number]} */
function range(low, high) {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low === high) return [low - 0.5, high + 0.5];
  const room = (high - low) * 0.06;
  return [low === 0 ? 0 : low - room, high + room];
}

/** @param {Curve} curve */
function describe(curve) {
  let at = -1;
  curve.values.forEach((v, t) => {
    if (v !== null && (at < 0 || v > /** @type {number} */ (curve.values[at]))) at = t;
  });
  return at < 0
    ? `${curve.label} has no values`
    : `${curve.label} is greatest at ${at * ms} milliseconds, ${number(/** @type {number} */ (curve.values[at]))}`;
}
