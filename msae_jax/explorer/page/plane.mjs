// One plane: the samples of one model as points, the selected one and what is drawn over them.

import { css, element, sampleFigure, sized } from "./drawing.mjs";
import { latentOf } from "./content.mjs";
import { activate, state } from "./state.mjs";

const MARGIN = 24;

function boundsOf(points) {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    low[i % 2] = Math.min(low[i % 2], points[i]);
    high[i % 2] = Math.max(high[i % 2], points[i]);
  }
  return { low, high };
}

export class Plane {
  // k: the position of the model that the plane shows.
  constructor(k) {
    const { content } = state;
    this.k = k;
    this.model = content.models[k];
    this.canvas = element("canvas", {
      className: "points", tabIndex: 0, role: "img",
      "aria-roledescription": "plane of latents", "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Enter Escape PageUp PageDown",
    });
    this.layer = document.createElement("canvas");
    this.figure = element("figure", { className: "plane" }, this.canvas);
    if (content.models.length > 1) this.figure.prepend(this.caption());
    this.lasso = null;
    this.bounds = boundsOf(this.model.points);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  // Above the plane of one of several seeds: the choice of its decoder, and its reconstruction.
  caption() {
    const radio = element("input", { type: "radio", name: "seed", checked: this.k === 0 });
    radio.addEventListener("change", () => activate(this.k));
    this.radio = radio;
    this.small = sampleFigure("", "small");
    this.small.className = "small";
    return element("figcaption", {}, element("label", {}, radio, ` seed ${this.model.seed}`), this.small);
  }

  // The plane is as high as the points need, within what the screen has.
  resize() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const { low, high } = this.bounds, most = Math.min(0.62 * window.innerHeight, 560);
    const needed = (width * (high[1] - low[1])) / Math.max(high[0] - low[0], 1e-9) + 2 * MARGIN;
    this.width = width;
    this.height = Math.round(Math.max(Math.min(needed, most), Math.min(240, most)));
    this.canvas.style.height = `${this.height}px`;
    if (!this.view) this.fit();
    this.draw(true);
  }

  // Shows all points: both axes have one scale.
  fit() {
    const { low, high } = this.bounds;
    const room = [this.width - 2 * MARGIN, this.height - 2 * MARGIN];
    const scale = Math.min(...room.map((size, i) => size / Math.max(high[i] - low[i], 1e-9)));
    this.view = { x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2, scale };
  }

  toScreen(x, y) {
    const { view } = this;
    return [this.width / 2 + (x - view.x) * view.scale, this.height / 2 - (y - view.y) * view.scale];
  }

  toPlane(x, y) {
    const { view } = this;
    return [view.x + (x - this.width / 2) / view.scale, view.y - (y - this.height / 2) / view.scale];
  }

  // Zooms so that the point of the plane under (x, y) stays there; by default about the middle.
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const before = this.toPlane(x, y);
    this.view.scale *= factor;
    const after = this.toPlane(x, y);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.draw(true);
  }

  // Returns the sample that is drawn nearest to (x, y), within some pixels, or -1.
  sampleAt(x, y, reach) {
    const { points } = this.model;
    let best = -1, least = reach * reach;
    for (let i = 0; i < this.model.errors.length; i++) {
      const [px, py] = this.toScreen(points[2 * i], points[2 * i + 1]);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance <= least) [best, least] = [i, distance];
    }
    return best;
  }

  // Draws everything; the points themselves only where the view or the colours have changed.
  draw(pointsToo = false) {
    if (!this.width) return;
    if (pointsToo) this.drawPoints();
    const context = sized(this.canvas, this.width, this.height);
    context.drawImage(this.layer, 0, 0, this.width, this.height);
    this.drawCaught(context);
    this.drawPath(context);
    this.drawSelected(context);
    if (this.lasso) this.drawLasso(context);
    this.canvas.setAttribute("aria-label", this.label());
  }

  label() {
    const { p } = state, own = this.model.errors.length;
    const place = `The selected point is at ${p[0].toPrecision(3)}, ${p[1].toPrecision(3)}.`;
    return `Seed ${this.model.seed}: ${own} samples in two dimensions. ${this.k === state.active ? place : ""}`;
  }

  drawPoints() {
    const { groups, palette, order } = state.colours, { points } = this.model;
    const context = sized(this.layer, this.width, this.height);
    const n = groups.length, size = n > 4000 ? 2.4 : n > 800 ? 3.4 : 5;
    context.globalAlpha = n > 4000 ? 0.75 : 0.9;
    let group = -1;
    for (const i of order) {
      if (groups[i] !== group) {
        group = groups[i];
        context.fillStyle = palette[group];
      }
      const [x, y] = this.toScreen(points[2 * i], points[2 * i + 1]);
      if (x > -5 && y > -5 && x < this.width + 5 && y < this.height + 5) {
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }

  drawCaught(context) {
    context.strokeStyle = css("--ink");
    context.globalAlpha = 0.6;
    for (const i of state.caught) {
      const [x, y] = this.toScreen(this.model.points[2 * i], this.model.points[2 * i + 1]);
      context.strokeRect(x - 2.5, y - 2.5, 5, 5);
    }
    context.globalAlpha = 1;
  }

  drawPath(context) {
    if (!state.path || this.k !== state.active) return;
    context.strokeStyle = css("--ink");
    context.lineWidth = 2;
    context.beginPath();
    state.path.forEach((p, i) => context[i ? "lineTo" : "moveTo"](...this.toScreen(...p)));
    context.stroke();
  }

  // A ring is the sample, the filled circle what is decoded.
  drawSelected(context) {
    const { points } = this.model, i = state.sample;
    const own = this.toScreen(points[2 * i], points[2 * i + 1]);
    const here = this.k === state.active ? this.toScreen(...state.p) : own;
    context.lineWidth = 3;
    for (const [colour, width] of [[css("--card"), 5], [css("--mark"), 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(...own, 8, 0, 2 * Math.PI);
      context.moveTo(...own);
      context.lineTo(...here);
      context.stroke();
    }
    context.fillStyle = css("--mark");
    context.beginPath();
    context.arc(...here, 5, 0, 2 * Math.PI);
    context.fill();
  }

  drawLasso(context) {
    context.strokeStyle = css("--ink");
    context.setLineDash([5, 4]);
    context.beginPath();
    this.lasso.forEach((p, i) => context[i ? "lineTo" : "moveTo"](...p));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }

  // Above the plane of one of several seeds: what this one makes of the selected sample.
  drawReconstruction() {
    if (this.small) {
      this.small.paint(this.model.decode(latentOf(this.model, state.sample)), {
        label: `The selected sample, reconstructed by seed ${this.model.seed}`,
      });
    }
  }
}
